"""Loads every card of FOLDER with huggingface_hub and checks what it must say.

usage: model_card_oracle.py FOLDER
"""

import pathlib
import sys

from huggingface_hub import ModelCard

failed = 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.md")):
    try:
        card = ModelCard.load(path)
        data = card.data.to_dict()
        assert data["library_name"] == "mlx" and data["pipeline_tag"] == "text-generation", data
        assert data["base_model"] == "Qwen/Qwen3-8B", data
        assert "mlx" in data["tags"] and all(isinstance(t, str) for t in data["tags"]), data
        assert card.text.lstrip().startswith("# Qwen3-8B-4bit"), card.text[:100]
        if path.name == "sound.md":
            assert data["license"] == "other" and data["license_link"] == "LICENSE", data
            assert data["language"] == ["en", "no"] and data["tags"] == ["a", "b c", "mlx"], data
            assert data["widget"][0]["text"] == "hi: there" and data["extra_gated_prompt"] == "some text", data
            assert data["extra_gated_fields"] == {"Name": "text", "Country": "country"}, data
            assert "model-index" not in data and "model_index" not in data, data
    except Exception as error:
        failed += 1
        if failed <= 5:
            print(f"{path.name}: {type(error).__name__}: {error}\n{path.read_text()[:900]}", file=sys.stderr)
print(f"{failed} cards failed", file=sys.stderr)
sys.exit(failed != 0)

#!/usr/bin/env python3
"""Holds every #include against the rooms of docs/ARCHITECTURE.md. Exit status 1 names file, line and rule."""
import argparse
import re
import sys
import tempfile
from pathlib import Path

# What each room may include beside itself and the public headers in include/mlxmill.
ROOMS = {
    "base": set(),
    "io": {"base"},
    "formats": {"io", "base"},
    "hub": {"formats", "io", "base"},
    "kernels": {"base"},
    "language": {"base"},
    "quantize": {"language", "base"},
    "tensors": {"base"},
    "streaming": {"tensors", "io", "kernels", "base"},
    "sources": {"formats", "tensors", "kernels", "io", "base"},
    "architectures": {"tensors", "language", "base"},
    "vocabulary": {"formats", "io", "base"},
    "tokenize": {"vocabulary", "formats", "io", "base"},
    "gguf": {"vocabulary", "formats", "architectures", "tensors", "language", "io", "base"},
    "convert": {"gguf", "hub", "vocabulary", "sources", "streaming", "formats", "quantize", "architectures", "tensors", "language", "io", "kernels",
                "base"},
    "runtime": {"convert", "hub", "vocabulary", "gguf", "sources", "streaming", "formats", "quantize", "architectures", "tensors", "language", "io",
                "kernels", "base"},
    "plan": {"convert", "hub", "vocabulary", "gguf", "sources", "streaming", "formats", "quantize", "architectures", "tensors", "language", "io",
             "kernels", "base"},
    "evaluate": {"base"},
    "measure": {"evaluate", "runtime", "tokenize", "report", "convert", "hub", "vocabulary", "gguf", "sources", "streaming", "formats",
                "quantize", "architectures", "tensors", "language", "io", "kernels", "base"},
    "generate": {"runtime", "tokenize", "convert", "hub", "vocabulary", "gguf", "sources", "streaming", "formats", "quantize",
                 "architectures", "tensors", "language", "io", "kernels", "base"},
    "report": {"gguf", "vocabulary", "sources", "kernels", "formats", "architectures", "tensors", "language", "io", "base"},
}

# Who may include a library. Each is kept behind one seam, so that replacing it touches one room.
LIBRARIES = {
    "nlohmann/": ("cli/", r"cli/"),
    "hwy/": ("src/kernels/", r"src/kernels/"),
    "toml++/": ("src/language/", r"src/language/"),
    "xxhash.h": ("src/io/", r"src/io/"),
    "openssl/": ("src/io/", r"src/io/"),
    "curl/": ("src/hub/", r"src/hub/"),
    "CLI/": ("cli/", r"cli/"),
    "histedit.h": ("cli/", r"cli/"),
    "gtest/": ("tests/", r"$^"),
    "gmock/": ("tests/", r"$^"),
    "mlx/": ("src/runtime/", r"src/runtime/"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".h", ".hpp", ".cc", ".cpp", ".inc"}


def sources(root, folder):
    base = root / folder
    return sorted(p for p in base.rglob("*") if p.suffix in SOURCES) if base.is_dir() else []


def room_of_path(path):
    """The room a file belongs to; `path` is relative to the root."""
    if path.parts[0] == "include":
        return "include"
    if path.parts[0] == "src" and len(path.parts) > 2:
        return path.parts[1]
    return path.parts[0]


def check_include(room, path, quote, header, root):
    """The broken rule, or None."""
    text = str(path)
    for prefix, (owner, pattern) in LIBRARIES.items():
        if header.startswith(prefix):
            return None if re.match(pattern, text) else f"<{header}> may be included by {owner} only"
    if ".." in Path(header).parts:
        return f'"{header}" climbs out of its folder: include from src/ by room, as "base/shape.h"'
    first = header.split("/")[0] if "/" in header else ""
    if first == "mlxmill":
        return None
    if room == "include":
        if quote == '"':
            return "include/mlxmill includes nothing but itself and the standard library"
        if "/" in header or header.endswith((".h", ".hpp")):
            return f"include/mlxmill shows standard types only, not <{header}>"
        return None
    target = first if first in ROOMS or first == "cli" else ""
    if not target:
        # `"name.h"` without a room is a neighbour; anything else in quotes must exist somewhere known.
        beside = (root / path).parent / header
        if quote == '"' and not beside.exists() and not (root / "src" / header).exists():
            return f'"{header}" is neither a room\'s header nor beside this file'
        return None
    if target == room:
        return None
    if room == "cli":
        return f"cli may include include/mlxmill only, not {target}"
    allowed = ROOMS.get(room, set())
    if target not in allowed:
        listed = ", ".join(sorted(allowed)) or "nothing"
        return f"{room} may include {listed} (and include/mlxmill), not {target}"
    return None


def check_includes(root):
    problems = []
    for folder in ("include", "src", "cli"):
        for file in sources(root, folder):
            path = file.relative_to(root)
            room = room_of_path(path)
            if room not in ROOMS and room not in ("include", "cli"):
                problems.append(f"{path}:1: {room} is no room of tools/check_layers.py")
                continue
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if match and (rule := check_include(room, path, match[1], match[2], root)):
                    problems.append(f"{path}:{number}: {rule}")
    return problems


def check_cmake(root):
    """room(NAME DEPENDS ...) must not link what NAME may not include."""
    file = root / "CMakeLists.txt"
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    depends = {}
    for match in re.finditer(r"^room\((\w+)([^)]*)\)", text, re.M):
        words = match[2].split()
        names = []
        if "DEPENDS" in words:
            for word in words[words.index("DEPENDS") + 1:]:
                if word.isupper():
                    break
                names.append(word)
        depends[match[1]] = (names, text.count("\n", 0, match.start()) + 1)
    problems = []
    for room, (names, line) in depends.items():
        if room not in ROOMS:
            problems.append(f"CMakeLists.txt:{line}: {room} is no room of tools/check_layers.py")
            continue
        problems += [f"CMakeLists.txt:{line}: {room} may not depend on {name}"
                     for name in names if name not in ROOMS[room]]
    problems += [f"CMakeLists.txt:1: room {room} is not built" for room in ROOMS if room not in depends]
    return problems


def check_tests_registered(root):
    """A test that CMake does not know never runs, and nobody notices."""
    tests = root / "tests"
    lists = {p.parent: p.read_text(encoding="utf-8") for p in tests.rglob("CMakeLists.txt")}
    top = lists.get(tests, "")
    everything = "\n".join(lists.values())
    problems = []
    for file in sorted(tests.rglob("*_test.cc")):
        folder = file.parent
        by_room = folder.parent == tests and re.search(rf"\broom_tests\({folder.name}\b", top)
        own = lists.get(folder, "")
        if not by_room and file.name not in own and file.stem not in own and "*_test.cc" not in own:
            problems.append(f"{file.relative_to(root)}:1: not registered in a CMakeLists.txt")
    for pattern in ("*_test.py", "*_parity.py", "*_test.sh"):
        for file in sorted(tests.rglob(pattern)):
            if file.name not in everything and pattern not in lists.get(file.parent, ""):
                problems.append(f"{file.relative_to(root)}:1: not registered in a CMakeLists.txt")
    return problems


def check_document(root):
    """The table for readers says the same; it lists what is reached through another room only once."""
    file = root / "docs" / "ARCHITECTURE.md"
    if not file.exists():
        return ["docs/ARCHITECTURE.md:1: missing"]
    listed = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if match := re.match(r"\|\s*`src/(\w+)/?`\s*\|.*\|([^|]*)\|\s*$", line):
            listed[match[1]] = (number, set(re.findall(r"\w+", match[2])))

    def reached(room):
        names = listed.get(room, (0, set()))[1]
        return names.union(*(reached(name) for name in names))

    problems = []
    for room, (line, _) in listed.items():
        if room not in ROOMS:
            problems.append(f"docs/ARCHITECTURE.md:{line}: src/{room} is no room")
        elif reached(room) != ROOMS[room]:
            problems.append(f"docs/ARCHITECTURE.md:{line}: {room} may include {', '.join(sorted(ROOMS[room]))}")
    problems += [f"docs/ARCHITECTURE.md:1: the table of rooms lacks src/{room}" for room in ROOMS
                 if room not in listed]
    return problems


def check(root):
    return check_includes(root) + check_cmake(root) + check_tests_registered(root) + check_document(root)


def self_test():
    """Every rule must catch a file that breaks it, and a clean tree must pass."""
    clean = {
        "CMakeLists.txt": "\n".join(
            f"room({room} DEPENDS {' '.join(sorted(may))})" for room, may in ROOMS.items()),
        "docs/ARCHITECTURE.md": "\n".join(
            f"| `src/{room}/` | text | {', '.join(may) or '-'} |" for room, may in ROOMS.items()),
        "include/mlxmill/a.h": '#include <vector>\n#include "mlxmill/a.h"\n',
        "src/base/a.h": '#include "mlxmill/a.h"\n',
        "src/io/a.cc": '#include "io/b.h"\n#include "base/a.h"\n#include <xxhash.h>\n',
        "cli/output.cc": "#include <nlohmann/json.hpp>\n",
        "cli/main.cc": '#include "mlxmill/a.h"\n#include <CLI/CLI.hpp>\n',
        "tests/CMakeLists.txt": "room_tests(base)\n",
        "tests/base/a_test.cc": '#include "convert/x.h"\n',
    }
    wrong = {
        "src/base/up.cc": '\n#include "io/file.h"\n',
        "src/io/up.h": '#include "formats/json.h"\n',
        "src/kernels/beside.cc": '#include "formats/json.h"\n',
        "src/architectures/io.cc": '#include "io/file.h"\n',
        "src/report/far.cc": '#include "convert/plan.h"\n',
        "src/formats/config.cc": "#include <nlohmann/json.hpp>\n",
        "src/convert/simd.cc": '  #  include "hwy/highway.h"\n',
        "src/formats/toml.cc": "#include <toml++/toml.h>\n",
        "src/base/dots.cc": '#include "../io/file.h"\n',
        "src/base/nowhere.cc": '#include "elsewhere/file.h"\n',
        "src/attic/a.cc": "\n",
        "include/mlxmill/third.h": "#include <fmt/format.h>\n",
        "include/mlxmill/inside.h": '#include "base/value.h"\n',
        "cli/deep.cc": '#include "convert/plan.h"\n',
        "tests/io/lost_test.cc": "\n",
        "tests/parity/lost_test.py": "\n",
        "docs/ARCHITECTURE.md": "| `src/base/` | only one room | io |\n| `src/io/` | - | - |\n",
    }

    def problems_of(files):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return check(root)

    failures = [f"clean tree: {p}" for p in problems_of(clean)]
    for path, text in wrong.items():
        found = problems_of({**clean, path: text})
        if not any(p.startswith(path + ":") for p in found):
            failures.append(f"{path}: not caught")
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures:
        print(f"self-test: {len(wrong)} wrong trees caught, the clean one passes")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true", help="check the checker")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    problems = check(arguments.root)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("layers: every include points the right way")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

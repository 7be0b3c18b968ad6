//! The Hugging Face tokenizers library, with what a file may not do checked before it is used.
use serde::de::IgnoredAny;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use tokenizers::{AddedToken, Model, ModelWrapper, Tokenizer};

/// How many times longer than itself the steps of a file may make a text.
const MAX_GROWTH: f64 = 1e4;

#[derive(Deserialize)]
struct Steps {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(rename = "model")]
    _model: IgnoredAny,
}

fn length_of(value: Option<&Value>) -> f64 {
    value.and_then(Value::as_str).map_or(0.0, |text| text.len() as f64)
}

/// A bound on how many times longer a step and those inside it make a text. `Replace` writes its content for
/// every match, of which an empty one or one of a regular expression may take no byte at all.
fn growth(step: &Value) -> f64 {
    let own = match step.get("type").and_then(Value::as_str) {
        Some("Replace") => {
            let matched = length_of(step.get("pattern").and_then(|pattern| pattern.get("String")));
            1.0 + length_of(step.get("content")) / matched.max(1.0)
        }
        Some("Prepend") => 1.0 + length_of(step.get("prepend")),
        Some("Metaspace") => 2.0 + length_of(step.get("replacement")),
        Some("TemplateProcessing") => pieces(step.get("single")).max(pieces(step.get("pair"))),
        _ => 1.0,
    };
    let own = if own <= 1.5 { 1.0 } else { own };
    ["normalizers", "pretokenizers", "processors", "decoders"].iter().fold(own, |product, list| {
        match step.get(list).and_then(Value::as_array) {
            Some(steps) => steps.iter().fold(product, |product, step| product * growth(step)),
            None => product,
        }
    })
}

/// How often a template of a post-processor repeats the text. Its special tokens only add to it.
fn pieces(template: Option<&Value>) -> f64 {
    let pieces = template.and_then(Value::as_array);
    pieces.map_or(1.0, |pieces| pieces.iter().filter(|piece| piece.get("Sequence").is_some()).count().max(1) as f64)
}

fn check_steps(steps: &Steps) -> Result<(), String> {
    let parts = [
        ("normalizer", &steps.normalizer),
        ("pre_tokenizer", &steps.pre_tokenizer),
        ("post_processor", &steps.post_processor),
        ("decoder", &steps.decoder),
    ];
    for (name, step) in parts {
        if growth(step) > MAX_GROWTH {
            return Err(format!("\"{name}\" may make a text more than {MAX_GROWTH} times longer"));
        }
    }
    Ok(())
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value, name: &str) -> Result<Option<T>, String> {
    if value.is_null() {
        return Ok(None);
    }
    serde_json::from_value(value.clone()).map(Some).map_err(|error| format!("\"{name}\": {error}"))
}

/// Replaces the parts of the tokenizer that `settings` names.
fn apply(tokenizer: &mut Tokenizer, settings: &Map<String, Value>) -> Result<(), String> {
    if let Some(Value::Object(model)) = settings.get("model") {
        let mut wrapper = tokenizer.get_model().clone();
        if let ModelWrapper::BPE(bpe) = &mut wrapper {
            if let Some(unknown) = model.get("unk_token") {
                bpe.unk_token = unknown.as_str().map(str::to_string);
            }
            for (key, to) in [("fuse_unk", &mut bpe.fuse_unk), ("byte_fallback", &mut bpe.byte_fallback)] {
                *to = model.get(key).and_then(Value::as_bool).unwrap_or(*to);
            }
            if model.get("ignore_merges").is_some() {
                bpe.ignore_merges = model.get("ignore_merges").and_then(Value::as_bool).unwrap_or(false);
            }
        }
        tokenizer.with_model(wrapper);
    }
    if let Some(value) = settings.get("normalizer") {
        let part: Option<tokenizers::NormalizerWrapper> = parsed(value, "normalizer")?;
        tokenizer.with_normalizer(part).map_err(|error| error.to_string())?;
    }
    if let Some(value) = settings.get("pre_tokenizer") {
        tokenizer.with_pre_tokenizer(parsed::<tokenizers::PreTokenizerWrapper>(value, "pre_tokenizer")?);
    }
    if let Some(value) = settings.get("post_processor") {
        tokenizer.with_post_processor(parsed::<tokenizers::PostProcessorWrapper>(value, "post_processor")?);
    }
    if let Some(value) = settings.get("decoder") {
        tokenizer.with_decoder(parsed::<tokenizers::DecoderWrapper>(value, "decoder")?);
    }
    Ok(())
}

/// Puts tokens before and after every text, and nothing else.
fn set_around(tokenizer: &mut Tokenizer, around: &Value) -> Result<(), String> {
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut special = Map::new();
    for (key, at) in [("before", 0), ("after", 1)] {
        let Some(text) = around.get(key).and_then(Value::as_str) else { continue };
        let Some(id) = tokenizer.token_to_id(text) else { continue };
        single.insert(if at == 0 { 0 } else { single.len() }, json!({"SpecialToken": {"id": text, "type_id": 0}}));
        special.insert(text.to_string(), json!({"id": text, "ids": [id], "tokens": [text]}));
    }
    let pair = json!([{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]);
    let processor =
        json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special});
    tokenizer.with_post_processor(parsed::<tokenizers::PostProcessorWrapper>(&processor, "post_processor")?);
    Ok(())
}

/// Whether a step or one inside it is of a kind.
fn has_type(step: &Value, kind: &str) -> bool {
    match step {
        Value::Object(members) => {
            members.get("type").and_then(Value::as_str) == Some(kind) || members.values().any(|v| has_type(v, kind))
        }
        Value::Array(items) => items.iter().any(|item| has_type(item, kind)),
        _ => false,
    }
}

fn add_tokens(tokenizer: &mut Tokenizer, tokens: &Value) -> Result<(), String> {
    for token in tokens.as_array().map(Vec::as_slice).unwrap_or_default() {
        let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
        let content = token.get("content").and_then(Value::as_str).unwrap_or_default();
        let known = tokenizer.get_added_vocabulary().get_vocab().contains_key(content);
        if known && flag("only_if_absent") {
            continue;
        }
        let special = flag("special");
        let added = AddedToken::from(content, special)
            .single_word(flag("single_word"))
            .lstrip(flag("lstrip"))
            .rstrip(flag("rstrip"))
            .normalized(token.get("normalized").and_then(Value::as_bool).unwrap_or(!special));
        let result = if special { tokenizer.add_special_tokens([added]) } else { tokenizer.add_tokens([added]) };
        result.map_err(|error| format!("added token {content:?}: {error}"))?;
    }
    Ok(())
}

pub fn load(text: &str, settings: &str) -> Result<Tokenizer, String> {
    // serde_json gives up on deep nesting, here and below.
    let steps: Steps = serde_json::from_str(text).map_err(|error| error.to_string())?;
    check_steps(&steps)?;
    let settings: Map<String, Value> = serde_json::from_str(settings).map_err(|error| error.to_string())?;
    let mut tokenizer: Tokenizer = text.parse().map_err(|error: tokenizers::Error| error.to_string())?;
    // A prompt is neither cut nor filled up; a file could ask for any length.
    tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
    tokenizer.with_padding(None);
    let is_bpe = matches!(tokenizer.get_model(), ModelWrapper::BPE(_));
    let byte_level = has_type(&steps.pre_tokenizer, "ByteLevel") || has_type(&steps.decoder, "ByteLevel");
    if !settings.contains_key("unless_byte_level") || (is_bpe && !byte_level) {
        apply(&mut tokenizer, &settings)?;
    }
    add_tokens(&mut tokenizer, settings.get("added_tokens").unwrap_or(&Value::Null))?;
    if let Some(around) = settings.get("around") {
        set_around(&mut tokenizer, around)?;
    }
    Ok(tokenizer)
}

/// What the caller needs to know of a tokenizer, as JSON.
pub fn describe(tokenizer: &Tokenizer) -> Result<String, String> {
    let kind = match tokenizer.get_model() {
        ModelWrapper::BPE(_) => "BPE",
        ModelWrapper::Unigram(_) => "Unigram",
        ModelWrapper::WordPiece(_) => "WordPiece",
        ModelWrapper::WordLevel(_) => "WordLevel",
    };
    let decoder = serde_json::to_value(tokenizer.get_decoder()).map_err(|error| error.to_string())?;
    let mut added: Vec<(u32, AddedToken)> = tokenizer.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|(id, _)| *id);
    let added: Vec<Value> = added
        .iter()
        .map(|(id, token)| json!({"id": id, "content": token.content, "special": token.special}))
        .collect();
    let model = tokenizer.get_model();
    let largest = model.get_vocab().into_values().max();
    let largest = added.last().and_then(|token| token["id"].as_u64()).max(largest.map(u64::from));
    Ok(json!({
        "model": kind,
        "tokens": tokenizer.get_vocab_size(true),
        "largest_id": largest,
        "decoder": decoder,
        "added_tokens": added,
    })
    .to_string())
}

pub fn encode(tokenizer: &Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>, String> {
    let encoding = tokenizer.encode_fast(text, add_special).map_err(|error| error.to_string())?;
    Ok(encoding.get_ids().to_vec())
}

pub fn decode(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Result<String, String> {
    tokenizer.decode(ids, skip_special).map_err(|error| error.to_string())
}

//! Chat templates, rendered as transformers' apply_chat_template renders them, in a sandbox: a template sees
//! plain data and the functions below; there is no loader, so no file can be included.
use crate::python::{json_text, text_of, value_of, JsonStyle};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

/// How deep blocks, macros and expressions may nest while a template runs.
const RECURSION: usize = 200;

#[derive(Deserialize, Clone)]
pub struct Limits {
    /// Instructions of the template.
    pub steps: u64,
    /// Bytes it may write.
    pub output: usize,
    /// Bytes it may hold while it runs.
    pub memory: usize,
    pub milliseconds: u64,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

fn indent_text(value: Value) -> Result<Option<String>, Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(None),
        ValueKind::String => Ok(value.as_str().map(str::to_string)),
        ValueKind::Bool => Ok(Some(if value.is_true() { " " } else { "" }.into())),
        _ => match value.as_i64() {
            Some(spaces) if spaces <= 64 => Ok(Some(" ".repeat(spaces.max(0) as usize))),
            _ => Err(invalid("tojson takes an indent of at most 64 spaces")),
        },
    }
}

/// transformers' tojson: json.dumps, which unlike Jinja's own escapes nothing for HTML.
fn to_json(value: &Value, arguments: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let argument = |position: usize, name: &str| -> Result<Value, Error> {
        if let Some(value) = arguments.0.get(position) {
            return Ok(value.clone());
        }
        Ok(named.get::<Option<Value>>(name)?.unwrap_or(Value::UNDEFINED))
    };
    let indent = indent_text(argument(1, "indent")?)?;
    let separators = argument(2, "separators")?;
    let mut style = JsonStyle {
        ensure_ascii: argument(0, "ensure_ascii")?.is_true(),
        item_separator: if indent.is_some() { "," } else { ", " }.into(),
        key_separator: ": ".into(),
        sort_keys: argument(3, "sort_keys")?.is_true(),
        indent,
    };
    if separators.kind() == ValueKind::Seq {
        style.item_separator = separators.get_item_by_index(0)?.to_string();
        style.key_separator = separators.get_item_by_index(1)?.to_string();
    }
    named.assert_all_used()?;
    json_text(value, &style)
}

fn join(value: &Value, separator: Option<Value>, named: Kwargs) -> Result<String, Error> {
    let separator = separator.map(|value| text_of(&value)).transpose()?.unwrap_or_default();
    let attribute: Option<String> = named.get("attribute")?;
    let mut out = String::new();
    for (i, item) in value.try_iter()?.enumerate() {
        if i > 0 {
            out.push_str(&separator);
        }
        match &attribute {
            Some(name) => out.push_str(&text_of(&item.get_attr(name)?)?),
            None => out.push_str(&text_of(&item)?),
        }
    }
    Ok(out)
}

/// Jinja's length: nothing is as long as an empty text.
fn length(value: &Value) -> Result<usize, Error> {
    match value.len() {
        Some(length) => Ok(length),
        None if value.is_undefined() => Ok(0),
        None => Err(invalid(format!("a value of type {} has no length", value.kind()))),
    }
}

fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map)
}

fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || matches!(value.kind(), ValueKind::Iterable | ValueKind::Undefined)
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let mut out = String::new();
    match write!(out, "{}", chrono::Local::now().format(format)) {
        Ok(()) => Ok(out),
        Err(_) => Err(invalid(format!("strftime_now does not know the format {format:?}"))),
    }
}

/// Methods of Python's str and dict that the library's own list lacks.
fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        let first = arguments.first().and_then(Value::as_str);
        match (name, first) {
            ("removeprefix", Some(part)) => return Ok(text.strip_prefix(part).unwrap_or(text).into()),
            ("removesuffix", Some(part)) => return Ok(text.strip_suffix(part).unwrap_or(text).into()),
            ("rsplit", Some(part)) if !part.is_empty() => {
                let most = arguments.get(1).and_then(Value::as_i64).unwrap_or(-1);
                let count = usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1));
                let mut parts: Vec<String> = text.rsplitn(count, part).map(str::to_string).collect();
                parts.reverse();
                return Ok(Value::from(parts));
            }
            ("partition", Some(part)) if !part.is_empty() => {
                let (before, between, after) = match text.split_once(part) {
                    Some((before, after)) => (before, part, after),
                    None => (text, "", ""),
                };
                return Ok(Value::from(vec![before.to_string(), between.to_string(), after.to_string()]));
            }
            ("index", Some(part)) => {
                return match text.find(part) {
                    Some(at) => Ok(text[..at].chars().count().into()),
                    None => Err(invalid("substring not found")),
                };
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

/// `{% generation %}` marks what an assistant wrote, for training masks; here it is a scope of its own, which
/// `{% with %}` is.
pub fn plain_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match rest.as_bytes().get(1) {
            Some(b'#') => rest.find("#}").map_or(rest.len(), |end| end + 2),
            Some(b'{') => end_of_code(rest, "}}"),
            Some(b'%') => end_of_code(rest, "%}"),
            _ => 1,
        };
        let (tag, after) = rest.split_at(end);
        if tag.starts_with("{%") {
            out.push_str(&renamed(tag));
        } else {
            out.push_str(tag);
        }
        rest = after;
        if tag_name(tag) == "raw" {
            // Everything up to the tag that ends it stands for itself.
            let mut from = 0;
            while let Some(at) = rest[from..].find("{%") {
                if tag_name(&rest[from + at..]) == "endraw" {
                    from += at;
                    break;
                }
                from += at + 2;
            }
            out.push_str(&rest[..from]);
            rest = &rest[from..];
        }
    }
    out.push_str(rest);
    out
}

/// Where `{{ ... }}` or `{% ... %}` ends, looking past quoted strings.
fn end_of_code(text: &str, close: &str) -> usize {
    let bytes = text.as_bytes();
    let mut quote = None;
    let mut i = 2;
    while i < bytes.len() {
        match (quote, bytes[i]) {
            (Some(_), b'\\') => i += 1,
            (Some(open), c) if c == open => quote = None,
            (None, c @ (b'"' | b'\'')) => quote = Some(c),
            (None, _) if bytes[i..].starts_with(close.as_bytes()) => return i + close.len(),
            _ => {}
        }
        i += 1;
    }
    text.len()
}

fn tag_name(tag: &str) -> &str {
    let Some(text) = tag.strip_prefix("{%") else { return "" };
    let text = text.trim_start_matches(['-', '+']).trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn renamed(tag: &str) -> String {
    match tag_name(tag) {
        "generation" => tag.replacen("generation", "with", 1),
        "endgeneration" => tag.replacen("endgeneration", "endwith", 1),
        _ => tag.to_string(),
    }
}

fn environment(limits: &Limits, raised: Arc<Mutex<Option<String>>>) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_fuel(Some(limits.steps));
    env.set_recursion_limit(RECURSION);
    env.set_unknown_method_callback(method);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_formatter(|out, _, value| match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => out.write_str(&text_of(value)?).map_err(Error::from),
    });
    env.add_function("debug", || -> Result<Value, Error> { Err(invalid("debug is not available")) });
    env.add_filter("tojson", to_json);
    env.add_filter("string", |value: &Value| text_of(value));
    env.add_filter("join", join);
    env.add_filter("length", length);
    env.add_filter("count", length);
    env.add_test("sequence", is_sequence);
    env.add_test("iterable", is_iterable);
    env.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    env.add_function("strftime_now", strftime_now);
    env.add_function("raise_exception", move |text: Value| -> Result<Value, Error> {
        let text = text_of(&text)?;
        if let Ok(mut slot) = raised.lock() {
            *slot = Some(text.clone());
        }
        Err(invalid(text))
    });
    env
}

struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    full: bool,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            self.full = true;
            return Err(std::io::Error::other("too much output"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn explain(error: &Error, limits: &Limits) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!("it takes more than {} steps; does it loop forever?", limits.steps);
    }
    let mut text = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    if let Some(line) = error.line() {
        let _ = write!(text, " (line {line})");
    }
    text
}

/// Renders `source` with the members of the JSON object `context` as variables.
pub fn render(source: &str, context: &str, limits: &Limits) -> Result<Vec<u8>, String> {
    let context: serde_json::Value =
        serde_json::from_str(context).map_err(|error| format!("the variables are no JSON: {error}"))?;
    let raised = Arc::new(Mutex::new(None));
    let env = environment(limits, raised.clone());
    let source = plain_generation_tags(source);
    let template = env.template_from_named_str("chat template", &source).map_err(|e| explain(&e, limits))?;
    let mut out = Bounded { bytes: Vec::new(), most: limits.output, full: false };
    let result = template.render_captured_to(value_of(context), &mut out).map(|_| ());
    match result {
        Ok(()) => Ok(out.bytes),
        Err(_) if out.full => Err(format!("it writes more than {} bytes", limits.output)),
        Err(error) => match raised.lock().ok().and_then(|mut slot| slot.take()) {
            Some(text) => Err(format!("it refuses this chat: {text}")),
            None => Err(explain(&error, limits)),
        },
    }
}

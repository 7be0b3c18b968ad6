//! Values as Python writes them: str(), repr() and json.dumps.
use crate::sequences::is_lazy;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

/// A list that prints as Python's, wherever a template makes text of it.
#[derive(Debug)]
struct List(Vec<Value>);

/// A dict that does, its keys in the order of the JSON.
#[derive(Debug)]
struct Dict {
    keys: Vec<Value>,
    values: HashMap<String, Value>,
}

fn render_python(value: Value, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str(&text_of(&value).map_err(|_| fmt::Error)?)
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        render_python(Value::from_dyn_object(self.clone()), out)
    }
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.values.get(key.as_str()?).cloned()
    }
    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.clone())
    }
    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        render_python(Value::from_dyn_object(self.clone()), out)
    }
}

/// A value of JSON as templates are given it.
pub fn value_of(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Array(items) => Value::from_object(List(items.into_iter().map(value_of).collect())),
        serde_json::Value::Object(members) => {
            let keys = members.keys().map(|key| Value::from(key.as_str())).collect();
            let values = members.into_iter().map(|(key, value)| (key, value_of(value))).collect();
            Value::from_object(Dict { keys, values })
        }
        scalar => Value::from_serialize(&scalar),
    }
}

/// repr() of a float: the shortest digits that read back as it.
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn is_float(value: &Value) -> bool {
    value.kind() == ValueKind::Number && !value.is_integer()
}

fn number_text(value: &Value) -> String {
    if is_float(value) {
        f64::try_from(value.clone()).map(float_text).unwrap_or_else(|_| value.to_string())
    } else {
        value.to_string()
    }
}

fn write_string_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c == '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}

fn write_repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > 100 {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply to print"));
    }
    match value.kind() {
        _ if is_lazy(value) => out.push_str(&value.to_string()),
        ValueKind::String => write_string_repr(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (i, item) in value.try_iter()?.enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_repr(out, &item, depth + 1)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_repr(out, &key, depth + 1)?;
                out.push_str(": ");
                write_repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Undefined => out.push_str("Undefined"),
        _ => out.push_str(&text_of(value)?),
    }
    Ok(())
}

/// str(value). Undefined is empty, as Jinja prints it.
pub fn text_of(value: &Value) -> Result<String, Error> {
    Ok(match value.kind() {
        ValueKind::Undefined => String::new(),
        ValueKind::None => "None".into(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.into(),
        ValueKind::Number => number_text(value),
        ValueKind::Iterable if is_lazy(value) => value.to_string(),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let mut out = String::new();
            write_repr(&mut out, value, 0)?;
            out
        }
        _ => value.to_string(),
    })
}

/// The arguments of json.dumps that templates pass.
pub struct JsonStyle {
    pub ensure_ascii: bool,
    pub indent: Option<String>,
    pub item_separator: String,
    pub key_separator: String,
    pub sort_keys: bool,
}

fn write_json_string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c if ascii && (c as u32) > 0x7e => {
                let mut units = [0u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn scalar_json(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::None => Some("null".into()),
        ValueKind::Bool => Some(if value.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number if is_float(value) => Some(match f64::try_from(value.clone()).unwrap_or(f64::NAN) {
            x if x.is_nan() => "NaN".into(),
            x if x.is_infinite() => if x > 0.0 { "Infinity" } else { "-Infinity" }.into(),
            x => float_text(x),
        }),
        ValueKind::Number => Some(value.to_string()),
        _ => None,
    }
}

fn new_line(out: &mut String, style: &JsonStyle, depth: usize) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn write_json(out: &mut String, value: &Value, style: &JsonStyle, depth: usize) -> Result<(), Error> {
    if depth > 100 {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply for tojson"));
    }
    match value.kind() {
        _ if is_lazy(value) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson cannot write an iterator; make it a list"));
        }
        ValueKind::String => write_json_string(out, value.as_str().unwrap_or_default(), style.ensure_ascii),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { &style.item_separator } else { "" });
                new_line(out, style, depth + 1);
                write_json(out, item, style, depth + 1)?;
            }
            if !items.is_empty() {
                new_line(out, style, depth);
            }
            out.push(']');
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sort_keys {
                keys.sort();
            }
            out.push('{');
            for (i, key) in keys.iter().enumerate() {
                out.push_str(if i > 0 { &style.item_separator } else { "" });
                new_line(out, style, depth + 1);
                let name = scalar_json(key).unwrap_or_else(|| key.to_string());
                write_json_string(out, &name, style.ensure_ascii);
                out.push_str(&style.key_separator);
                write_json(out, &value.get_item(key)?, style, depth + 1)?;
            }
            if !keys.is_empty() {
                new_line(out, style, depth);
            }
            out.push('}');
        }
        kind => match scalar_json(value) {
            Some(text) => out.push_str(&text),
            None => {
                return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson cannot write {kind}")));
            }
        },
    }
    Ok(())
}

/// json.dumps(value).
pub fn json_text(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    write_json(&mut out, value, style, 0)?;
    Ok(out)
}

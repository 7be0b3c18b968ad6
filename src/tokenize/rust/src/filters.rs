//! Filters and tests as Jinja2 has them, where MiniJinja's differ.
use crate::methods;
use crate::python::{json_text, text_of, JsonStyle};
use crate::sequences::{is_lazy, iterated, Generator};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use std::borrow::Cow;

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

fn join(value: Value, separator: Option<Value>, named: Kwargs) -> Result<String, Error> {
    let value = iterated(value)?;
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
    match value.kind() {
        ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined => true,
        // Sums and slices of lists, and ranges.
        ValueKind::Iterable => !is_lazy(value),
        _ => false,
    }
}

fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

/// Jinja's first: of what is empty, undefined.
fn first(value: Value) -> Result<Value, Error> {
    Ok(iterated(value)?.try_iter()?.next().unwrap_or(Value::UNDEFINED))
}

fn list(state: &State, value: Value) -> Result<Value, Error> {
    minijinja::filters::list(state, iterated(value)?)
}

fn trim(value: &Value, chars: Option<&str>) -> Result<String, Error> {
    Ok(methods::strip(&text_of(value)?, chars, true, true).to_string())
}

fn replace(value: &Value, old: &Value, new: &Value, count: Option<i64>) -> Result<String, Error> {
    let (text, old, new) = (text_of(value)?, text_of(old)?, text_of(new)?);
    Ok(match count.and_then(|count| usize::try_from(count).ok()) {
        Some(most) => text.replacen(&old, &new, most),
        None => text.replace(&old, &new),
    })
}

/// Jinja's int: the default where it is no number.
fn int(value: &Value, default: Option<Value>) -> Value {
    let float = |x: f64| if x.is_finite() { Value::try_from(x.trunc() as i128).ok() } else { None };
    let number = match value.as_str() {
        Some(text) => text.trim().parse::<i128>().map(Value::from).ok().or_else(|| text.trim().parse().ok().and_then(float)),
        None if value.is_integer() || value.kind() == ValueKind::Bool => i128::try_from(value.clone()).map(Value::from).ok(),
        None => f64::try_from(value.clone()).ok().and_then(float),
    };
    number.or(default).unwrap_or_else(|| Value::from(0))
}

fn float(value: &Value, default: Option<Value>) -> Value {
    let number = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None => f64::try_from(value.clone()).ok(),
    };
    number.map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0))
}

/// The filters that give iterators.
fn add_generators(env: &mut Environment<'static>) {
    use minijinja::filters as builtin;
    type Text<'a> = Cow<'a, str>;
    env.add_filter("map", |state: &State, value: Value, rest: Rest<Value>| {
        builtin::map(state, value, rest).map(Generator::of)
    });
    env.add_filter("select", |state: &State, value: Value, test: Option<Text<'_>>, rest: Rest<Value>| {
        builtin::select(state, value, test, rest).map(Generator::of)
    });
    env.add_filter("reject", |state: &State, value: Value, test: Option<Text<'_>>, rest: Rest<Value>| {
        builtin::reject(state, value, test, rest).map(Generator::of)
    });
    env.add_filter("selectattr", |state: &State, value: Value, name: Text<'_>, test: Option<Text<'_>>, rest: Rest<Value>| {
        builtin::selectattr(state, value, name, test, rest).map(Generator::of)
    });
    env.add_filter("rejectattr", |state: &State, value: Value, name: Text<'_>, test: Option<Text<'_>>, rest: Rest<Value>| {
        builtin::rejectattr(state, value, name, test, rest).map(Generator::of)
    });
    env.add_filter("unique", |state: &State, value: Value, named: Kwargs| -> Result<Value, Error> {
        Ok(Generator::of(builtin::unique(state, value, named)?.try_iter()?.collect()))
    });
    env.add_filter("items", |value: &Value| -> Result<Value, Error> {
        let items = if value.is_undefined() { Vec::new() } else { builtin::items(value)?.try_iter()?.collect() };
        Ok(Generator::of(items))
    });
    env.add_filter("reverse", |value: &Value| -> Result<Value, Error> {
        let reversed = builtin::reverse(value)?;
        Ok(if value.as_str().is_some() { reversed } else { Generator::of(reversed.try_iter()?.collect()) })
    });
}

/// Filters and tests that differ from MiniJinja's own.
pub fn add(env: &mut Environment<'static>) {
    add_generators(env);
    env.add_filter("_iterated", iterated);
    env.add_filter("tojson", to_json);
    env.add_filter("string", |value: &Value| text_of(value));
    env.add_filter("join", join);
    env.add_filter("length", length);
    env.add_filter("count", length);
    env.add_filter("first", first);
    env.add_filter("list", list);
    env.add_filter("trim", trim);
    env.add_filter("replace", replace);
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("title", |value: &Value| text_of(value).map(|text| methods::title_words(&text)));
    env.add_filter("capitalize", |value: &Value| text_of(value).map(|text| methods::capitalize(&text)));
    env.add_test("sequence", is_sequence);
    env.add_test("iterable", is_iterable);
}

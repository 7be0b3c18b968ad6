//! Methods of Python's str, list and dict, which templates call. What changes a value is left out: the sandbox of
//! transformers refuses it too.
use crate::python::text_of;
use crate::sequences::View;
use minijinja::value::{from_args, Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

/// What str.isspace() and str.strip() take for white space.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Where str.splitlines() splits.
fn ends_line(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

struct Arguments<'a> {
    given: &'a [Value],
    named: Kwargs,
}

impl<'a> Arguments<'a> {
    fn new(arguments: &'a [Value], names: &[&str]) -> Result<Self, Error> {
        let (given, named): (&[Value], Kwargs) = from_args(arguments)?;
        if let Some(name) = named.args().find(|name| !names.contains(name)) {
            return Err(invalid(format!("there is no argument {name:?}")));
        }
        Ok(Arguments { given, named })
    }
    fn at(&self, i: usize, name: &str) -> Result<Option<Value>, Error> {
        let value = match self.given.get(i) {
            Some(value) => Some(value.clone()),
            None if self.named.has(name) => Some(self.named.get::<Value>(name)?),
            None => None,
        };
        Ok(value.filter(|value| !value.is_none()))
    }
    fn number(&self, i: usize, name: &str) -> Result<Option<i64>, Error> {
        self.at(i, name)?.map(|value| value.as_i64().ok_or_else(|| invalid("expected an integer"))).transpose()
    }
    fn text(&self, i: usize) -> Result<&'a str, Error> {
        self.given.get(i).and_then(Value::as_str).ok_or_else(|| invalid("expected a text"))
    }
}

pub fn strip<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let drop = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if left { text.trim_start_matches(drop) } else { text };
    if right {
        text.trim_end_matches(drop)
    } else {
        text
    }
}

/// The part of `text` between two positions in characters, as a slice counts them, and where it begins. None where it
/// begins past the end: nothing is found there, not even the empty text.
fn window<'a>(text: &'a str, arguments: &Arguments, i: usize) -> Result<Option<(i64, &'a str)>, Error> {
    let size = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + size).max(0) } else { at };
    let begin = place(arguments.number(i, "")?.unwrap_or(0));
    let end = place(arguments.number(i + 1, "")?.unwrap_or(size)).min(size);
    if begin > end {
        return Ok(None);
    }
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((begin, &text[byte(begin)..byte(end)])))
}

fn find(text: &str, arguments: &Arguments, last: bool) -> Result<i64, Error> {
    let part = arguments.text(0)?;
    let Some((begin, within)) = window(text, arguments, 1)? else { return Ok(-1) };
    let at = if last { within.rfind(part) } else { within.find(part) };
    Ok(at.map_or(-1, |at| begin + within[..at].chars().count() as i64))
}

fn count(text: &str, arguments: &Arguments) -> Result<usize, Error> {
    let part = arguments.text(0)?;
    Ok(window(text, arguments, 1)?.map_or(0, |(_, within)| within.matches(part).count()))
}

fn begins(text: &str, arguments: &Arguments, end: bool) -> Result<bool, Error> {
    let Some((_, within)) = window(text, arguments, 1)? else { return Ok(false) };
    let matches = |part: &str| if end { within.ends_with(part) } else { within.starts_with(part) };
    let parts = arguments.given.first().ok_or_else(|| invalid("expected a text"))?;
    if let Some(part) = parts.as_str() {
        return Ok(matches(part));
    }
    if parts.kind() != ValueKind::Seq {
        return Err(invalid("expected a text or a tuple of texts"));
    }
    for part in parts.try_iter()? {
        if matches(part.as_str().ok_or_else(|| invalid("expected a tuple of texts"))?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// str.split(): at runs of white space, at most `most` times.
fn split_words(text: &str, most: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = strip(text, None, true, false);
    while !rest.is_empty() {
        let end = if parts.len() < most { rest.find(is_space) } else { None };
        let Some(end) = end else {
            parts.push(rest.to_string());
            break;
        };
        parts.push(rest[..end].to_string());
        rest = strip(&rest[end..], None, true, false);
    }
    parts
}

fn split_words_from_end(text: &str, most: usize) -> Vec<String> {
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    split_words(&reversed(text), most).iter().rev().map(|part| reversed(part)).collect()
}

fn split(text: &str, arguments: &Arguments, from_end: bool) -> Result<Value, Error> {
    let most = usize::try_from(arguments.number(1, "maxsplit")?.unwrap_or(-1)).unwrap_or(usize::MAX);
    let Some(separator) = arguments.at(0, "sep")? else {
        return Ok(if from_end { split_words_from_end(text, most) } else { split_words(text, most) }.into());
    };
    let separator = separator.as_str().filter(|text| !text.is_empty());
    let separator = separator.ok_or_else(|| invalid("a text is split at a text that is not empty"))?;
    let count = most.saturating_add(1);
    let parts: Vec<String> = if from_end {
        let mut parts: Vec<String> = text.rsplitn(count, separator).map(str::to_string).collect();
        parts.reverse();
        parts
    } else {
        text.splitn(count, separator).map(str::to_string).collect()
    };
    Ok(parts.into())
}

fn split_lines(text: &str, keep_ends: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(ends_line).unwrap_or(rest.len());
        let end = match rest[at..].chars().next() {
            Some('\r') if rest[at + 1..].starts_with('\n') => at + 2,
            Some(c) => at + c.len_utf8(),
            None => at,
        };
        lines.push(rest[..if keep_ends { end } else { at }].to_string());
        rest = &rest[end..];
    }
    lines
}

fn partition(text: &str, part: &str, last: bool) -> Result<Vec<String>, Error> {
    if part.is_empty() {
        return Err(invalid("a text is split at a text that is not empty"));
    }
    let found = if last { text.rsplit_once(part) } else { text.split_once(part) };
    Ok(match found {
        Some((before, after)) => vec![before.into(), part.into(), after.into()],
        None if last => vec![String::new(), String::new(), text.into()],
        None => vec![text.into(), String::new(), String::new()],
    })
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

/// A word's first letter large, the others small. One letter that has two large ones has the second small.
fn push_letter(out: &mut String, c: char, large: bool) {
    if !large {
        return out.extend(c.to_lowercase());
    }
    let mut upper = c.to_uppercase();
    out.extend(upper.next());
    out.extend(upper.flat_map(char::to_lowercase));
}

pub fn capitalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        push_letter(&mut out, c, i == 0);
    }
    out
}

/// str.title(): a word is a run of letters.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        push_letter(&mut out, c, !in_word);
        in_word = is_cased(c);
    }
    out
}

/// Jinja's filter `title`: a word ends at white space, a hyphen or an opening bracket.
pub fn title_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        push_letter(&mut out, c, begins);
        begins = is_space(c) || "-({[<".contains(c);
    }
    out
}

fn all(text: &str, holds: impl Fn(char) -> bool) -> Value {
    Value::from(!text.is_empty() && text.chars().all(holds))
}

/// All letters that have a case have this one, and there is one.
fn all_cased(text: &str, holds: impl Fn(char) -> bool) -> Value {
    Value::from(text.chars().any(is_cased) && text.chars().all(|c| !is_cased(c) || holds(c)))
}

fn padded(text: &str, arguments: &Arguments, name: &str) -> Result<String, Error> {
    let width = arguments.number(0, "")?.unwrap_or(0);
    let fill = arguments.at(1, "")?.map(|fill| text_of(&fill)).transpose()?.unwrap_or_else(|| " ".into());
    let missing = width - text.chars().count() as i64;
    if missing <= 0 {
        return Ok(text.into());
    }
    if fill.chars().count() != 1 || missing > 1 << 16 {
        return Err(invalid("a text is filled up with one character, at most 65536 times"));
    }
    let (missing, wide) = (missing as usize, width & 1 == 1);
    let left = match name {
        "ljust" => 0,
        "center" => missing / 2 + usize::from(missing % 2 == 1 && wide),
        _ => missing,
    };
    let (sign, digits) = match text.chars().next() {
        Some('+' | '-') if name == "zfill" => text.split_at(1),
        _ => ("", text),
    };
    let fill = if name == "zfill" { "0" } else { fill.as_str() };
    Ok(format!("{sign}{}{digits}{}", fill.repeat(left), fill.repeat(missing - left)))
}

fn join(separator: &str, parts: &Value) -> Result<String, Error> {
    let mut out = String::new();
    for (i, part) in parts.try_iter()?.enumerate() {
        out.push_str(if i > 0 { separator } else { "" });
        out.push_str(part.as_str().ok_or_else(|| invalid("only texts are joined"))?);
    }
    Ok(out)
}

fn keywords(name: &str) -> &'static [&'static str] {
    match name {
        "split" | "rsplit" => &["sep", "maxsplit"],
        "splitlines" => &["keepends"],
        _ => &[],
    }
}

/// None for what this list lacks.
fn text_method(text: &str, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    if name == "format" {
        return Ok(None);
    }
    let args = Arguments::new(arguments, keywords(name))?;
    let found = |at: i64| if at < 0 { Err(invalid("substring not found")) } else { Ok(Value::from(at)) };
    let chars = |left, right| -> Result<Value, Error> {
        let chars = args.at(0, "")?;
        Ok(strip(text, chars.as_ref().map(|_| args.text(0)).transpose()?, left, right).into())
    };
    Ok(Some(match name {
        "upper" => text.to_uppercase().into(),
        "lower" => text.to_lowercase().into(),
        "capitalize" => capitalize(text).into(),
        "title" => title(text).into(),
        "swapcase" => text
            .chars()
            .flat_map(|c| if c.is_uppercase() { c.to_lowercase().collect::<Vec<_>>() } else { c.to_uppercase().collect() })
            .collect::<String>()
            .into(),
        "strip" => chars(true, true)?,
        "lstrip" => chars(true, false)?,
        "rstrip" => chars(false, true)?,
        "split" => split(text, &args, false)?,
        "rsplit" => split(text, &args, true)?,
        "splitlines" => split_lines(text, args.at(0, "keepends")?.is_some_and(|keep| keep.is_true())).into(),
        "partition" => partition(text, args.text(0)?, false)?.into(),
        "rpartition" => partition(text, args.text(0)?, true)?.into(),
        "replace" => match usize::try_from(args.number(2, "")?.unwrap_or(-1)) {
            Ok(most) => text.replacen(args.text(0)?, args.text(1)?, most).into(),
            Err(_) => text.replace(args.text(0)?, args.text(1)?).into(),
        },
        "removeprefix" => text.strip_prefix(args.text(0)?).unwrap_or(text).into(),
        "removesuffix" => text.strip_suffix(args.text(0)?).unwrap_or(text).into(),
        "find" => find(text, &args, false)?.into(),
        "rfind" => find(text, &args, true)?.into(),
        "index" => found(find(text, &args, false)?)?,
        "rindex" => found(find(text, &args, true)?)?,
        "count" => count(text, &args)?.into(),
        "startswith" => begins(text, &args, false)?.into(),
        "endswith" => begins(text, &args, true)?.into(),
        "join" => join(text, args.given.first().ok_or_else(|| invalid("expected texts"))?)?.into(),
        "ljust" | "rjust" | "center" | "zfill" => padded(text, &args, name)?.into(),
        "isspace" => all(text, is_space),
        "isalpha" => all(text, char::is_alphabetic),
        "isalnum" => all(text, char::is_alphanumeric),
        // Digits of other scripts count for Python, fractions do not; Rust tells them not apart.
        "isdigit" | "isdecimal" => all(text, |c| c.is_ascii_digit()),
        "isnumeric" => all(text, char::is_numeric),
        "isascii" => text.is_ascii().into(),
        "islower" => all_cased(text, char::is_lowercase),
        "isupper" => all_cased(text, char::is_uppercase),
        _ => return Ok(None),
    }))
}

fn list_method(list: &Value, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let first = arguments.first().cloned().unwrap_or(Value::UNDEFINED);
    Ok(Some(match name {
        "copy" => list.clone(),
        "count" => list.try_iter()?.filter(|item| *item == first).count().into(),
        "index" => match list.try_iter()?.position(|item| item == first) {
            Some(at) => at.into(),
            None => return Err(invalid("the value is not in the list")),
        },
        _ => return Ok(None),
    }))
}

fn dict_method(dict: &Value, name: &str) -> Result<Option<Value>, Error> {
    let items = |of: &dyn Fn(Value) -> Result<Value, Error>| dict.try_iter()?.map(of).collect::<Result<Vec<_>, _>>();
    Ok(Some(match name {
        "copy" => dict.clone(),
        "keys" => View::of("dict_keys", items(&Ok)?),
        "values" => View::of("dict_values", items(&|key| dict.get_item(&key))?),
        "items" => View::of("dict_items", items(&|key| Ok(Value::from(vec![key.clone(), dict.get_item(&key)?])))?),
        _ => return Ok(None),
    }))
}

/// Calls a method of Python's on `value`.
pub fn call(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let found = match (value.as_str(), value.kind()) {
        (Some(text), _) => text_method(text, name, arguments)?,
        (None, ValueKind::Seq | ValueKind::Iterable) => list_method(value, name, arguments)?,
        (None, ValueKind::Map) if arguments.is_empty() => dict_method(value, name)?,
        _ => None,
    };
    match found {
        Some(result) => Ok(result),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

//! What templates may hold that MiniJinja does not know, rewritten before it reads them.

/// The source with `{% generation %}`, which marks what an assistant wrote for training masks, as the scope that
/// `{% with %}` is, with loops and slices that refuse none, and with methods of dicts where no
/// key is found.
pub fn for_minijinja(source: &str) -> String {
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
        match rest.as_bytes().get(1) {
            Some(b'%') => out.push_str(&renamed(&with_members(tag))),
            Some(b'{') => out.push_str(&with_members(tag)),
            _ => out.push_str(tag),
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
        "for" => checked_loop(tag).unwrap_or_else(|| tag.to_string()),
        _ => tag.to_string(),
    }
}

/// `{% for x in A if B %}` as `{% for x in (A)|_iterated if B %}`; None where it is not of that form.
fn checked_loop(tag: &str) -> Option<String> {
    let words = outer_words(tag);
    let (_, begin) = *words.iter().find(|(word, _)| *word == "in")?;
    let begin = begin + "in".len();
    let last = tag.len() - if tag.ends_with("-%}") || tag.ends_with("+%}") { 3 } else { 2 };
    let ends = |(word, at): &&(&str, usize)| *at > begin && (*word == "if" || *word == "recursive");
    let end = words.iter().find(ends).map_or(last, |(_, at)| *at);
    if tag[begin..end].trim().is_empty() {
        return None;
    }
    Some(format!("{} ({})|_iterated {}", &tag[..begin], &tag[begin..end], &tag[end..]))
}

/// The words of a tag outside of brackets and quotes, and where they begin. No word follows a dot.
fn outer_words(tag: &str) -> Vec<(&str, usize)> {
    let bytes = tag.as_bytes();
    let (mut words, mut depth, mut i) = (Vec::new(), 0usize, 2);
    while i < bytes.len() {
        let begin = i;
        match bytes[i] {
            quote @ (b'"' | b'\'') => {
                i += 1;
                while i < bytes.len() && bytes[i] != quote {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b if is_word(b) => {
                while i + 1 < bytes.len() && is_word(bytes[i + 1]) {
                    i += 1;
                }
                if depth == 0 && bytes[begin - 1] != b'.' {
                    words.push((&tag[begin..=i], begin));
                }
            }
            _ => {}
        }
        i += 1;
    }
    words
}

/// Methods of a dict, which Jinja gives for `.name`, and for `['name']` where there is no such key.
const DICT_METHODS: [&str; 5] = ["items", "keys", "values", "get", "copy"];
const OPERATORS: [&str; 9] = ["in", "is", "not", "and", "or", "if", "else", "for", "recursive"];

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// The method's name and the size of `['name']` at the beginning of `text`.
fn method_subscript(text: &str) -> Option<(&str, usize)> {
    let inside = text.strip_prefix('[')?.trim_start();
    let quote = inside.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let (name, after) = inside[1..].split_once(quote)?;
    let rest = after.trim_start().strip_prefix(']')?;
    DICT_METHODS.contains(&name).then_some((name, text.len() - rest.len()))
}

/// Whether `text` begins with brackets that hold a slice; what is long beyond reason is none.
fn is_slice(text: &str) -> bool {
    let (mut depth, mut quote) = (0usize, None);
    for b in text.bytes().take(1000) {
        match (quote, b) {
            (Some(open), _) if b == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(b),
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') if depth == 1 => return false,
            (None, b')' | b']' | b'}') => depth -= 1,
            (None, b':') if depth == 1 => return true,
            _ => {}
        }
    }
    false
}

/// A tag with `_member(a.b, 'items')` for `a.b.items`, unless that is called or assigned to, and with
/// `_item(a.b, 'items')` for `a.b['items']`, and with `_sliced(a.b)[1:]` for `a.b[1:]`.
fn with_members(tag: &str) -> String {
    if !tag.contains(':') && !DICT_METHODS.iter().any(|name| tag.contains(name)) {
        return tag.to_string();
    }
    let bytes = tag.as_bytes();
    let mut out = String::with_capacity(tag.len() + 32);
    // Where in `out` the operand begins whose members follow, here and in the brackets around.
    let (mut operand, mut around): (Option<usize>, Vec<Option<usize>>) = (None, Vec::new());
    let mut assigned = tag_name(tag) == "set";
    let mut dot = None;
    out.push_str(&tag[..2]);
    let mut i = 2;
    while i < tag.len() {
        let begin = i;
        let mut replaced = false;
        match bytes[i] {
            b if b.is_ascii_whitespace() => {
                out.push(b as char);
                i += 1;
                continue;
            }
            quote @ (b'"' | b'\'') => {
                i += 1;
                while i < bytes.len() && bytes[i] != quote {
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                i = (i + 1).min(bytes.len());
                operand = Some(out.len());
            }
            b if is_word(b) => {
                while i < bytes.len() && is_word(bytes[i]) {
                    i += 1;
                }
                let name = &tag[begin..i];
                let method = DICT_METHODS.contains(&name) && !tag[i..].trim_start().starts_with('(') && !assigned;
                match (dot, operand) {
                    (Some(dot), Some(from)) if method => {
                        out.truncate(dot);
                        out.insert_str(from, "_member(");
                        out.push_str(&format!(", '{name}')"));
                        replaced = true;
                    }
                    (Some(_), _) => {}
                    (None, _) => operand = (!OPERATORS.contains(&name)).then_some(out.len()),
                }
            }
            b'[' if operand.is_some() && !assigned && method_subscript(&tag[begin..]).is_some() => {
                let (name, size) = method_subscript(&tag[begin..]).unwrap_or_default();
                out.insert_str(operand.unwrap_or_default(), "_item(");
                out.push_str(&format!(", '{name}')"));
                replaced = true;
                i += size;
            }
            b'(' | b'[' | b'{' => {
                if let Some(from) = operand.filter(|_| bytes[i] == b'[' && is_slice(&tag[begin..])) {
                    out.insert_str(from, "_sliced(");
                    out.push(')');
                }
                around.push(operand.or(Some(out.len())));
                operand = None;
                i += 1;
            }
            b')' | b']' | b'}' => {
                operand = around.pop().flatten();
                i += 1;
            }
            b'.' => i += 1,
            b => {
                assigned = assigned && (b != b'=' || !around.is_empty());
                operand = None;
                i += 1;
            }
        }
        dot = (bytes[begin] == b'.').then_some(out.len());
        if !replaced {
            out.push_str(&tag[begin..i]);
        }
    }
    out
}

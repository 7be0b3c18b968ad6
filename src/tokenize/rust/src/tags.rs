//! What templates may hold that MiniJinja does not know, rewritten before it reads them.

/// The source with `{% generation %}`, which marks what an assistant wrote for training masks, as the scope that
/// `{% with %}` is, and with loops that refuse to go through none.
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
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
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

//! A scanner for JSON text that is known to be syntactically valid.
//!
//! It accepts what the grammar allows but a strict parser refuses: lone surrogates, nesting of any depth, numbers of
//! any size. It does not recurse, and copies only strings that contain escapes.

use std::borrow::Cow;

/// Returns the members of the object `raw` in their order, or `None` if it is not an object.
pub(in crate::resource) fn members(raw: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let mut members = Vec::new();
    let mut at = begin(raw, b'{')?;
    while let Some(name_at) = next(raw, at, b'}')? {
        let name_end = value_end(raw, name_at)?;
        let (name, _) = text(raw.get(name_at..name_end)?)?;
        let value_at = skip(raw, name_end, |byte| byte.is_ascii_whitespace() || byte == b':');
        let end = value_end(raw, value_at)?;
        members.push((name, raw.get(value_at..end)?));
        at = end;
    }
    Some(members)
}

/// Returns the elements of the array `raw` in their order, or `None` if it is not an array.
pub(in crate::resource) fn elements(raw: &str) -> Option<Vec<&str>> {
    let mut elements = Vec::new();
    let mut at = begin(raw, b'[')?;
    while let Some(element_at) = next(raw, at, b']')? {
        let end = value_end(raw, element_at)?;
        elements.push(raw.get(element_at..end)?);
        at = end;
    }
    Some(elements)
}

/// Decodes the string `raw`. Returns its text, and whether it contained lone surrogates, which are replaced by U+FFFD.
/// Returns `None` if `raw` is not a string.
pub(in crate::resource) fn text(raw: &str) -> Option<(Cow<'_, str>, bool)> {
    let inner = raw.trim().strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some((Cow::Borrowed(inner), false));
    }
    let (mut out, mut is_broken) = (String::with_capacity(inner.len()), false);
    let mut rest = inner;
    while let Some(escape) = rest.find('\\') {
        out.push_str(&rest[..escape]);
        let (decoded, length) = unescape(&rest[escape..])?;
        is_broken |= decoded.is_none();
        out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = rest.get(escape + length..)?;
    }
    out.push_str(rest);
    Some((Cow::Owned(out), is_broken))
}

/// Returns the name of the JSON type of `raw`.
pub(super) fn type_name(raw: &str) -> &'static str {
    match raw.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) => "a number",
        None => "nothing",
    }
}

/// Decodes the escape at the start of `text`. Returns its character (`None` for a lone surrogate) and its length in
/// bytes. Returns `None` if the escape is incomplete.
fn unescape(text: &str) -> Option<(Option<char>, usize)> {
    let simple = |c: char| Some((Some(c), 2));
    match text.as_bytes().get(1)? {
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let first = code_unit(text)?;
            let second = text.get(6..).and_then(code_unit);
            match (first, second) {
                (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
                    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    Some((char::from_u32(code), 12))
                }
                (code, _) => Some((char::from_u32(code), 6)),
            }
        }
        // A quotation mark or a slash. Any other character stands for itself.
        _ => text[1..].chars().next().map(|c| (Some(c), 1 + c.len_utf8())),
    }
}

/// Returns the UTF-16 code unit of the `\u` escape at the start of `text`.
fn code_unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// Returns the offset at which the content of the object or array begins.
fn begin(raw: &str, opening: u8) -> Option<usize> {
    let at = skip(raw, 0, |byte| byte.is_ascii_whitespace());
    (raw.as_bytes().get(at) == Some(&opening)).then_some(at + 1)
}

/// Returns the offset of the next member or element. Returns `Some(None)` at the end of the object or array, and `None`
/// if the text is truncated.
#[expect(clippy::option_option, reason = "the end of the list and truncated text are different results")]
fn next(raw: &str, at: usize, closing: u8) -> Option<Option<usize>> {
    let at = skip(raw, at, |byte| byte.is_ascii_whitespace() || byte == b',');
    match raw.as_bytes().get(at)? {
        byte if *byte == closing => Some(None),
        _ => Some(Some(at)),
    }
}

fn skip(raw: &str, from: usize, skipped: impl Fn(u8) -> bool) -> usize {
    let rest = raw.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| skipped(**byte)).count()
}

/// Returns the end offset of the value that begins at `at`, or `None` if the text is truncated.
fn value_end(raw: &str, at: usize) -> Option<usize> {
    let bytes = raw.as_bytes();
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => {
            let (mut at, mut depth) = (at, 0_usize);
            loop {
                match bytes.get(at)? {
                    b'"' => {
                        at = string_end(bytes, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let end = skip(raw, at, |byte| !byte.is_ascii_whitespace() && !b",:]}".contains(&byte));
            (end > at).then_some(end)
        }
    }
}

fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_may_contain_any_value() {
        let raw = r#" { "a" : {"b":[1,{"}":"]"}]} , "\u0063":"x\"}" ,"d":1e999,"e":null} "#;
        let members = members(raw).unwrap();
        let members: Vec<_> = members.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
        assert_eq!(members, [("a", r#"{"b":[1,{"}":"]"}]}"#), ("c", r#""x\"}""#), ("d", "1e999"), ("e", "null")]);
        assert_eq!(elements(r#"[1, "a,b" ,[],{}]"#).unwrap(), ["1", "\"a,b\"", "[]", "{}"]);
        assert_eq!(elements("[]").unwrap(), [""; 0]);
        assert!(elements("{}").is_none() && super::members("[]").is_none());
    }

    #[test]
    fn truncated_text_is_refused() {
        for raw in ["{", "[", "{\"a\"", "{\"a\":", "{\"a\":1", "[1,", "[\"", "[\"\\", "[[1]", "", "[,", "{\"\\u12\":1}"]
        {
            assert!(members(raw).is_none() && elements(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn escapes_are_decoded_and_lone_surrogates_replaced() {
        for (raw, decoded, is_broken) in [
            (r#""plain""#, "plain", false),
            (r#""\"\\\/\b\f\n\r\t\u0041""#, "\"\\/\u{8}\u{c}\n\r\tA", false),
            (r#""\ud83d\ude00!""#, "\u{1f600}!", false),
            (r#""Zo\ud83d""#, "Zo\u{fffd}", true),
            (r#""\ude00\ud83dA\ud83d\ud83d\ude00""#, "\u{fffd}\u{fffd}A\u{fffd}\u{1f600}", true),
            (r#""\u0000""#, "\0", false),
        ] {
            assert_eq!(text(raw), Some((Cow::Borrowed(decoded), is_broken)), "{raw}");
        }
    }
}

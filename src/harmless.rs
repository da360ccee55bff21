//! Text from Clerk, from servers and from users' files, made harmless for a terminal: control characters are escaped.
//!
//! A name can contain an escape sequence that sets the window title, clears the screen or hides what follows, or a
//! character that reverses the direction of text. All of them are shown as `\u001b`, as JSON writes them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes every control character of `text`, line breaks and tabs included.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Escapes every control character of `text` but line breaks and tabs.
#[must_use]
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_escaped = |c: char| steers(c) && !is_kept(c);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            push_escape(&mut safe, c);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// Whether a terminal acts on `c` instead of showing it: C0, DEL and C1 controls, line and paragraph separators, and
/// the characters that change the direction of text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push_escape(text: &mut String, c: char) {
    match c {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        // Writing to a string cannot fail.
        c => drop(write!(text, "\\u{:04x}", u32::from(c))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_that_steers_a_terminal_is_escaped() {
        let text = "A\u{1b}]0;t\u{7}\u{9b}2J\u{202e}b\u{2066}\u{7f}\r\n\té日👩‍💻";
        let safe = "A\\u001b]0;t\\u0007\\u009b2J\\u202eb\\u2066\\u007f\\r\\n\\té日👩‍💻";
        assert_eq!(harmless(text), safe);
        assert_eq!(harmless_lines("a\n\tb\r"), "a\n\tb\\r");
        assert!(matches!(harmless("plain é"), Cow::Borrowed(_)));
    }
}

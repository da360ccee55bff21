//! A writer that makes text harmless for a terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use clerk_lake::harmless::harmless_lines;

/// A writer to a terminal that escapes the control characters of what is written, except line breaks and tabs.
pub struct HarmlessWriter<W> {
    out: W,
    /// Whether anything is escaped. If not, all bytes are passed on unchanged.
    is_terminal: bool,
    /// Whether colors and text styles (`ESC [ … m`) are passed on.
    passes_styles: bool,
    /// The start of a character whose other bytes have not been written yet.
    incomplete: Vec<u8>,
}

impl<W: Write> HarmlessWriter<W> {
    /// Returns a writer for text that this program has made, and may have colored.
    pub fn new(out: W, is_terminal: bool) -> Self {
        Self { out, is_terminal, passes_styles: true, incomplete: Vec::new() }
    }

    /// Returns a writer to a terminal for text that other people have made.
    pub fn strict(out: W) -> Self {
        Self { out, is_terminal: true, passes_styles: false, incomplete: Vec::new() }
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        if !self.passes_styles || !text.contains('\u{1b}') {
            return self.out.write_all(harmless_lines(text).as_bytes());
        }
        let mut rest = text;
        while let Some(at) = rest.find('\u{1b}') {
            let (before, sequence) = rest.split_at(at);
            self.out.write_all(harmless_lines(before).as_bytes())?;
            let length = style_length(sequence);
            let (style, after) = sequence.split_at(length.unwrap_or(1));
            let style = if length.is_some() { Cow::Borrowed(style) } else { harmless_lines(style) };
            self.out.write_all(style.as_bytes())?;
            rest = after;
        }
        self.out.write_all(harmless_lines(rest).as_bytes())
    }
}

/// Returns the length of the style sequence at the start of `text`; `None` if there is none.
fn style_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    parameters[end..].starts_with('m').then_some(end + 3)
}

impl<W: Write> Write for HarmlessWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(bytes);
        }
        let mut all = std::mem::take(&mut self.incomplete);
        all.extend_from_slice(bytes);
        let mut rest = all.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.write_text(text)?;
                    return Ok(bytes.len());
                }
                Err(error) => {
                    let (text, after) = rest.split_at(error.valid_up_to());
                    self.write_text(&String::from_utf8_lossy(text))?;
                    let Some(invalid) = error.error_len() else {
                        self.incomplete = after.to_vec();
                        return Ok(bytes.len());
                    };
                    self.out.write_all("\u{fffd}".as_bytes())?;
                    rest = &after[invalid..];
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a terminal gets if `text` is written in pieces of `size` bytes.
    fn shown(mut writer: HarmlessWriter<Vec<u8>>, text: &[u8], size: usize) -> String {
        for piece in text.chunks(size) {
            writer.write_all(piece).expect("bytes");
        }
        String::from_utf8(writer.out).expect("text")
    }

    #[test]
    fn text_in_pieces_is_the_same_text() {
        let text = "é日\u{1b}[2J\u{202e}👩‍💻\n".as_bytes();
        for size in 1..text.len() {
            assert_eq!(shown(HarmlessWriter::strict(Vec::new()), text, size), "é日\\u001b[2J\\u202e👩‍💻\n", "{size}");
        }
        assert_eq!(shown(HarmlessWriter::strict(Vec::new()), b"a\xffb\xc3", 9), "a\u{fffd}b");
        let raw = shown(HarmlessWriter::new(Vec::new(), false), text, 3);
        assert_eq!(raw.as_bytes(), text);
    }

    #[test]
    fn only_styles_of_the_program_itself_are_passed_on() {
        let text = "\u{1b}[2mNULL\u{1b}[0m \u{1b}[2J\u{1b}]0;t\u{7}".as_bytes();
        let own = shown(HarmlessWriter::new(Vec::new(), true), text, text.len());
        assert_eq!(own, "\u{1b}[2mNULL\u{1b}[0m \\u001b[2J\\u001b]0;t\\u0007");
        let others = shown(HarmlessWriter::strict(Vec::new()), text, text.len());
        assert_eq!(others, "\\u001b[2mNULL\\u001b[0m \\u001b[2J\\u001b]0;t\\u0007");
    }
}

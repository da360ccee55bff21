//! The fenced blocks and inline code spans of the pages.

/// A fenced block of a page.
pub struct Block {
    /// The first word after the fence.
    pub language: String,
    pub text: String,
    /// The number of the line of the page on which `text` begins.
    pub line: usize,
}

const FENCE: &str = "```";

/// Returns the fenced blocks of a page.
///
/// Panics if a block is not closed, or is written in a way that the tests would not see.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let lines: Vec<_> = page.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        open = match (open, line.strip_prefix(FENCE)) {
            (None, Some(info)) => Some((info.split_whitespace().next().unwrap_or_default().to_owned(), at + 1)),
            (None, None) => {
                let start = line.trim_start();
                let is_hidden = start.starts_with(FENCE) || start.starts_with("~~~") || line.starts_with("    ");
                assert!(!is_hidden, "line {}: fence code with ``` at the start of the line", at + 1);
                None
            }
            (Some((language, begin)), Some(_)) => {
                let text = lines[begin..at].iter().flat_map(|line| [line, "\n"]).collect();
                found.push(Block { language, text, line: begin + 1 });
                None
            }
            (open, None) => open,
        };
    }
    assert!(open.is_none(), "the last fenced block is not closed");
    found
}

/// Returns the inline code spans of a page.
pub fn spans(page: &str) -> Vec<&str> {
    let mut is_fenced = false;
    let mut found = Vec::new();
    for line in page.lines() {
        is_fenced ^= line.starts_with(FENCE);
        if !is_fenced {
            found.extend(line.split('`').skip(1).step_by(2).filter(|span| !span.is_empty()));
        }
    }
    found
}

#[test]
fn blocks_and_spans_are_found() {
    let page = "`a` and `b c`\n```sh\none `two`\n\nthree\n```\n`d`\n```console more\n```\n";
    let found: Vec<_> = blocks(page).into_iter().map(|block| (block.language, block.text, block.line)).collect();
    assert_eq!(found, [("sh".into(), "one `two`\n\nthree\n".into(), 3), ("console".into(), String::new(), 9)]);
    assert_eq!(spans(page), ["a", "b c", "d"]);
    for hidden in ["- item\n  ```sh\n", "~~~sh\n", "    indented\n", "```sh\nopen\n"] {
        assert!(std::panic::catch_unwind(|| blocks(hidden).len()).is_err(), "{hidden:?}");
    }
}

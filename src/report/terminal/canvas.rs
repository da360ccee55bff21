//! Text for a terminal of a given width: text that fits, aligned columns, and numbers as block characters.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::report::format::{clean, float_of, nearest};

/// Minimum and maximum width of a line.
const WIDTHS: (usize, usize) = (40, 160);

/// Blocks that are filled from below, in eighths.
const VERTICAL: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Blocks that are filled from the left, in eighths.
const HORIZONTAL: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Style of text in a terminal with colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextStyle {
    /// Headings and values.
    Strong,
    /// Details.
    Faint,
    /// Bars and lines.
    Drawn,
    /// Numbers that increased.
    Up,
    /// Numbers that decreased, and failures.
    Down,
}

/// The text so far, and the width of its lines.
#[derive(Debug)]
pub(super) struct TextCanvas {
    out: String,
    /// Width of a line in columns.
    pub width: usize,
    color: bool,
}

impl TextCanvas {
    pub(super) fn new(width: usize, color: bool) -> Self {
        Self { out: String::new(), width: width.clamp(WIDTHS.0, WIDTHS.1), color }
    }

    /// Appends a line.
    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end_matches(' '));
        self.out.push('\n');
    }

    /// Appends a line in one style. It is cut if it does not fit.
    pub(super) fn styled_line(&mut self, style: TextStyle, text: &str) {
        let text = fit(text, self.width);
        let text = self.styled(style, &text);
        self.line(&text);
    }

    /// Appends sentences in one style, on as many lines as necessary.
    pub(super) fn wrap(&mut self, style: TextStyle, indent: usize, text: &str) {
        let mut line = String::new();
        for word in clean(text).split_whitespace() {
            if !line.is_empty() && indent + columns_of(&line) + 1 + columns_of(word) > self.width {
                self.styled_line(style, &format!("{}{line}", " ".repeat(indent)));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.styled_line(style, &format!("{}{line}", " ".repeat(indent)));
        }
    }

    /// Returns `text` in a style if the terminal has colors.
    pub(super) fn styled(&self, style: TextStyle, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match style {
            TextStyle::Strong => "1",
            TextStyle::Faint => "2",
            TextStyle::Drawn => "36",
            TextStyle::Up => "32",
            TextStyle::Down => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Returns the text.
    pub(super) fn into_text(self) -> String {
        self.out
    }
}

/// Returns the width of `text` in columns.
pub(super) fn columns_of(text: &str) -> usize {
    text.width()
}

/// Removes control characters from `text` and cuts it to `width` columns.
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = clean(text);
    if columns_of(&text) <= width {
        return text;
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next > width.saturating_sub(1) {
            break;
        }
        used += next;
        cut.push(c);
    }
    cut.push('…');
    cut
}

/// Cuts or pads `text` to `width` columns. It is aligned to the right if `right`.
pub(super) fn cell(text: &str, width: usize, right: bool) -> String {
    let text = fit(text, width);
    let room = " ".repeat(width.saturating_sub(columns_of(&text)));
    if right { format!("{room}{text}") } else { format!("{text}{room}") }
}

/// Returns a horizontal bar of `value`. The bar of `max` has `width` columns.
pub(super) fn bar(value: f64, max: f64, width: usize) -> String {
    if value <= 0.0 || max <= 0.0 {
        return String::new();
    }
    let eighths = nearest((value / max).min(1.0) * float_of(width) * 8.0).max(1);
    format!("{}{}", "█".repeat(eighths / 8), HORIZONTAL[eighths % 8])
}

/// Returns vertical bars of `lines` lines, the highest line first. A missing number has no bar.
pub(super) fn vertical_bars(values: &[Option<f64>], max: f64, lines: usize, columns: usize) -> Vec<String> {
    let eighths = |value: f64| match value {
        value if value <= 0.0 || max <= 0.0 => 0,
        value => nearest((value / max).min(1.0) * float_of(lines * 8)).max(1),
    };
    let heights: Vec<usize> = values.iter().map(|value| value.map_or(0, eighths)).collect();
    let block = |height: &usize, line: usize| filled(VERTICAL[height.saturating_sub(line * 8).min(8)], columns);
    (0..lines).rev().map(|line| heights.iter().map(|height| block(height, line)).collect()).collect()
}

/// Returns vertical bars of one line. A zero is visible, and no bar touches the line above.
pub(super) fn sparkline(values: &[Option<f64>], max: f64, columns: usize) -> String {
    let block = |value: &Option<f64>| match value {
        None => VERTICAL[0],
        Some(value) if *value <= 0.0 || max <= 0.0 => VERTICAL[1],
        Some(value) => VERTICAL[nearest((value / max).min(1.0) * 7.0).max(1)],
    };
    values.iter().map(|value| filled(block(value), columns)).collect()
}

/// Repeats `block` on `columns` columns. The last of several columns is blank, which separates the bars.
pub(super) fn filled(block: &str, columns: usize) -> String {
    match columns {
        0 | 1 => block.repeat(columns),
        columns => block.repeat(columns - 1) + " ",
    }
}

/// Aligns cells in columns that are two spaces apart. The first line is the heading.
///
/// Returns the lines, and the number of columns at the right that do not fit and are omitted.
pub(super) fn columns(cells: &[Vec<String>], right: &[bool], max: usize, width: usize) -> (Vec<String>, usize) {
    let count = cells.first().map_or(0, Vec::len);
    let widest =
        |at: usize| cells.iter().filter_map(|line| line.get(at)).map(|text| columns_of(text)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(|at| widest(at).min(max)).collect();
    let mut used = 0;
    let fitting = widths
        .iter()
        .take_while(|own| {
            used += **own + 2;
            used <= width + 2
        })
        .count()
        .max(1);
    let line = |line: &Vec<String>| {
        let own = line.iter().zip(&widths).zip(right).take(fitting.min(count));
        own.map(|((text, width), right)| cell(text, *width, *right)).collect::<Vec<_>>().join("  ")
    };
    (cells.iter().map(line).collect(), count.saturating_sub(fitting))
}

#[cfg(test)]
mod tests {
    use super::{TextCanvas, TextStyle, bar, cell, columns, fit, sparkline, vertical_bars};

    #[test]
    fn text_is_cut_by_its_width_in_columns() {
        assert_eq!(fit("組織組織", 5), "組織…");
        assert_eq!(fit("\u{1b}[2Jx", 9), " [2Jx");
        assert_eq!(cell("組", 4, true), "  組");
        assert_eq!(cell("abc", 4, false), "abc ");
    }

    #[test]
    fn bars_are_exact_to_an_eighth() {
        assert_eq!(bar(50.0, 100.0, 5), "██▌");
        assert_eq!(bar(0.001, 100.0, 5), "▏");
        assert_eq!(bar(0.0, 100.0, 5), "");
        assert_eq!(sparkline(&[Some(0.0), None, Some(4.0), Some(8.0)], 8.0, 1), "▁ ▄▇");
        assert_eq!(vertical_bars(&[Some(8.0), Some(4.0), Some(1.0)], 8.0, 2, 1), ["█  ", "██▂"]);
    }

    #[test]
    fn columns_are_aligned_and_those_that_do_not_fit_are_counted() {
        let cells =
            [vec!["a", "bb", "c"], vec!["aaa", "1", "2"]].map(|line| line.into_iter().map(str::to_owned).collect());
        assert_eq!(columns(&cells, &[false, true, true], 20, 40).0, ["a    bb  c", "aaa   1  2"]);
        assert_eq!(columns(&cells, &[false, true, true], 20, 7), (vec!["a    bb".to_owned(), "aaa   1".to_owned()], 1));
    }

    #[test]
    fn styles_need_a_terminal_with_colors() {
        assert_eq!(TextCanvas::new(80, false).styled(TextStyle::Strong, "x"), "x");
        assert_eq!(TextCanvas::new(80, true).styled(TextStyle::Strong, "x"), "\u{1b}[1mx\u{1b}[0m");
    }
}

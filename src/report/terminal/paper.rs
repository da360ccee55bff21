//! Lines of a terminal of some width: text that fits, columns that line up, blocks that stand for numbers.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::report::words::{clean, float_of, nearest};

/// The narrowest and the widest terminal that is written for.
const WIDTHS: (usize, usize) = (40, 160);

/// Blocks that are filled from below by eighths.
const UPRIGHT: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Blocks that are filled from the left by eighths.
const LEVEL: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// How text stands out, where the terminal has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Headings and values.
    Strong,
    /// What is only needed on a second look.
    Faint,
    /// Bars and lines.
    Drawn,
    /// What went up.
    Up,
    /// What went down, or wrong.
    Down,
}

/// What has been written so far, and how wide it may be.
#[derive(Debug)]
pub(super) struct Paper {
    out: String,
    /// How many characters fit on a line.
    pub width: usize,
    colour: bool,
}

impl Paper {
    pub(super) fn new(width: usize, colour: bool) -> Self {
        Self { out: String::new(), width: width.clamp(WIDTHS.0, WIDTHS.1), colour }
    }

    /// Ends the line with `text` on it.
    pub(super) fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end_matches(' '));
        self.out.push('\n');
    }

    /// A line of one kind of ink, cut where it does not fit.
    pub(super) fn say(&mut self, ink: Ink, text: &str) {
        let text = fit(text, self.width);
        let text = self.inked(ink, &text);
        self.line(&text);
    }

    /// Sentences of one kind of ink on as many lines as they need.
    pub(super) fn wrap(&mut self, ink: Ink, indent: usize, text: &str) {
        let mut line = String::new();
        for word in clean(text).split_whitespace() {
            if !line.is_empty() && indent + wide(&line) + 1 + wide(word) > self.width {
                self.say(ink, &format!("{}{line}", " ".repeat(indent)));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.say(ink, &format!("{}{line}", " ".repeat(indent)));
        }
    }

    /// `text` in that ink, where there are colours.
    pub(super) fn inked(&self, ink: Ink, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Strong => "1",
            Ink::Faint => "2",
            Ink::Drawn => "36",
            Ink::Up => "32",
            Ink::Down => "33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// All that has been written.
    pub(super) fn into_text(self) -> String {
        self.out
    }
}

/// How many columns of a terminal `text` takes.
pub(super) fn wide(text: &str) -> usize {
    text.width()
}

/// `text` without what a terminal could take for a command, cut to so many columns.
pub(super) fn fit(text: &str, width: usize) -> String {
    let text = clean(text);
    if wide(&text) <= width {
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

/// `text` cut and filled up to so many columns, at the right edge if `right`.
pub(super) fn cell(text: &str, width: usize, right: bool) -> String {
    let text = fit(text, width);
    let room = " ".repeat(width.saturating_sub(wide(&text)));
    if right { format!("{room}{text}") } else { format!("{text}{room}") }
}

/// A level bar of `value`, where `most` takes `width` columns.
pub(super) fn bar(value: f64, most: f64, width: usize) -> String {
    if value <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let eighths = nearest((value / most).min(1.0) * float_of(width) * 8.0).max(1);
    format!("{}{}", "█".repeat(eighths / 8), LEVEL[eighths % 8])
}

/// Upright bars of `lines` lines, the highest line first; nothing stands where there is no number.
pub(super) fn upright(values: &[Option<f64>], most: f64, lines: usize, columns: usize) -> Vec<String> {
    let eighths = |value: f64| match value {
        value if value <= 0.0 || most <= 0.0 => 0,
        value => nearest((value / most).min(1.0) * float_of(lines * 8)).max(1),
    };
    let heights: Vec<usize> = values.iter().map(|value| value.map_or(0, eighths)).collect();
    let block = |height: &usize, line: usize| filled(UPRIGHT[height.saturating_sub(line * 8).min(8)], columns);
    (0..lines).rev().map(|line| heights.iter().map(|height| block(height, line)).collect()).collect()
}

/// One line of upright bars, in which a zero can be seen too; the line above never touches them.
pub(super) fn spark(values: &[Option<f64>], most: f64, columns: usize) -> String {
    let block = |value: &Option<f64>| match value {
        None => UPRIGHT[0],
        Some(value) if *value <= 0.0 || most <= 0.0 => UPRIGHT[1],
        Some(value) => UPRIGHT[nearest((value / most).min(1.0) * 7.0).max(1)],
    };
    values.iter().map(|value| filled(block(value), columns)).collect()
}

/// `block` on so many columns, the last of several left free so that bars stand apart.
pub(super) fn filled(block: &str, columns: usize) -> String {
    match columns {
        0 | 1 => block.repeat(columns),
        columns => block.repeat(columns - 1) + " ",
    }
}

/// Cells in columns that line up, two spaces apart, with the first line as their head; columns that do not fit are
/// left out from the right, and their number is given.
pub(super) fn columns(cells: &[Vec<String>], right: &[bool], longest: usize, width: usize) -> (Vec<String>, usize) {
    let count = cells.first().map_or(0, Vec::len);
    let widest = |at: usize| cells.iter().filter_map(|line| line.get(at)).map(|text| wide(text)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(|at| widest(at).min(longest)).collect();
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
    use super::{Ink, Paper, bar, cell, columns, fit, spark, upright};

    #[test]
    fn text_fits_by_the_columns_that_it_takes() {
        assert_eq!(fit("組織組織", 5), "組織…");
        assert_eq!(fit("\u{1b}[2Jx", 9), " [2Jx");
        assert_eq!(cell("組", 4, true), "  組");
        assert_eq!(cell("abc", 4, false), "abc ");
    }

    #[test]
    fn blocks_stand_for_numbers_to_an_eighth() {
        assert_eq!(bar(50.0, 100.0, 5), "██▌");
        assert_eq!(bar(0.001, 100.0, 5), "▏");
        assert_eq!(bar(0.0, 100.0, 5), "");
        assert_eq!(spark(&[Some(0.0), None, Some(4.0), Some(8.0)], 8.0, 1), "▁ ▄▇");
        assert_eq!(upright(&[Some(8.0), Some(4.0), Some(1.0)], 8.0, 2, 1), ["█  ", "██▂"]);
    }

    #[test]
    fn columns_line_up_and_those_that_do_not_fit_are_counted() {
        let cells =
            [vec!["a", "bb", "c"], vec!["aaa", "1", "2"]].map(|line| line.into_iter().map(str::to_owned).collect());
        assert_eq!(columns(&cells, &[false, true, true], 20, 40).0, ["a    bb  c", "aaa   1  2"]);
        assert_eq!(columns(&cells, &[false, true, true], 20, 7), (vec!["a    bb".to_owned(), "aaa   1".to_owned()], 1));
    }

    #[test]
    fn ink_is_only_used_where_there_is_any() {
        assert_eq!(Paper::new(80, false).inked(Ink::Strong, "x"), "x");
        assert_eq!(Paper::new(80, true).inked(Ink::Strong, "x"), "\u{1b}[1mx\u{1b}[0m");
    }
}

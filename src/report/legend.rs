//! The legend of a panel.

use maud::{Markup, html};

use super::describe::{self, IN_PROGRESS};
use super::panel::Panel;

/// Renders the legend: the series unless there is `only_one`, and the marks that the panel uses. Empty if there is
/// nothing to explain.
pub(super) fn legend(panel: &Panel, only_one: bool) -> Markup {
    let (lines, color) = (panel.is_lines(), panel.series.first().map_or(0, |series| series.color));
    let (lower, progress) = (panel.has_lower_bounds(), panel.axis.has_progress());
    let upper = !panel.bounds().is_empty();
    if only_one && !lower && !progress {
        return Markup::default();
    }
    html! {
        ul.legend {
            @for series in panel.series.iter().filter(|_| !only_one) {
                (item(&series.name, &series_key(lines, series.color)))
            }
            @if progress {
                (item(IN_PROGRESS, &progress_key(lines, color)))
            }
            @if lower {
                (item(describe::lower_bound(panel.share), &lower_key(lines, color)))
            }
            @if upper {
                (item("range to upper bound", &html! { line class={ "most c" (color) } x1="13" x2="13" y2="12" {} }))
            }
        }
    }
}

fn item(words: &str, key: &Markup) -> Markup {
    html! { li { svg.key width="26" height="12" aria-hidden="true" { (key) } (words) } }
}

fn series_key(lines: bool, color: usize) -> Markup {
    html! {
        @if lines {
            line class={ "l c" (color) " d" (color) } x2="26" y1="6" y2="6" {}
        } @else {
            rect class={ "b c" (color) } width="26" height="12" {}
        }
    }
}

fn progress_key(lines: bool, color: usize) -> Markup {
    html! {
        rect.band width="26" height="12" {}
        @if lines {
            circle class={ "b open c" (color) } cx="13" cy="6" r="4" {}
        } @else {
            rect class={ "b open c" (color) } x="4.5" y="2.5" width="17" height="9" {}
        }
    }
}

fn lower_key(lines: bool, color: usize) -> Markup {
    html! {
        @if lines {
            rect.strip y="3" width="26" height="6" {}
        } @else {
            rect class={ "b c" (color) } width="26" height="12" {}
            rect.hatch width="26" height="12" {}
        }
    }
}

//! Heat maps on the page.

use maud::{Markup, html};

use super::describe::{self, IN_PROGRESS};
use super::heat::{GridLine, Heat, LEVELS, cell};
use super::html::{UntrustedText, scrollable};

/// Renders a heat map as a table: each cell has its number, so there is no second table behind it.
pub(super) fn heat_table(title: &str, heat: &Heat) -> Markup {
    let table = html! {
        table.heat {
            thead { tr {
                th scope="col" { (UntrustedText(&heat.names[0])) }
                @for name in &heat.details {
                    th.details scope="col" { (UntrustedText(name)) }
                }
                @for (index, column) in heat.columns.iter().enumerate() {
                    th scope="col" {
                        @if index == 0 { (UntrustedText(&heat.names[1])) " " }
                        (UntrustedText(column))
                    }
                }
            } }
            tbody {
                @for row in &heat.lines { (line(heat, row)) }
            }
        }
    };
    html! {
        p.note { (UntrustedText(&describe::heat(heat))) }
        (scrollable(&format!("{title}, heat map"), &table))
        (shades(heat))
        @for note in &heat.notes {
            p.note { (UntrustedText(note)) }
        }
    }
}

fn line(heat: &Heat, line: &GridLine) -> Markup {
    // The cells after the last number are in the future.
    let known = line.cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    html! {
        tr {
            th scope="row" {
                (UntrustedText(&line.label))
                @if line.in_progress { " " small { (IN_PROGRESS) } }
            }
            @for detail in &line.details {
                td.details { (UntrustedText(detail)) }
            }
            @for value in line.cells.iter().take(known) {
                @match value {
                    Some((value, lower)) => {
                        td class={ "cell h" (heat.level(*value)) @if *lower { " lower" } } {
                            @if *lower { "≥" }
                            (cell(*value, heat.share))
                        }
                    }
                    None => td {},
                }
            }
        }
    }
}

/// Renders the legend of the shades.
fn shades(heat: &Heat) -> Markup {
    html! {
        ul.legend aria-label="Shades" {
            li { "0" }
            li.shades {
                @for level in 1..=LEVELS { span class={ "h" (level) } {} }
            }
            li { (describe::formatted(heat.max, heat.share)) }
            @if heat.has_lower_bounds() {
                li { "≥ and a dashed border: lower bound" }
            }
        }
    }
}

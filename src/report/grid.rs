//! A grid of shades on the page.

use super::describe;
use super::heat::{Heat, LEVELS, Line, cell};
use super::html::{escape, put};

/// A grid of shades, which is a table of its own: every cell holds its number.
pub(super) fn grid(out: &mut String, title: &str, heat: &Heat) {
    let (title, about) = (escape(title), escape(&describe::heat(heat)));
    put!(out, "<p class=\"note\">{about}.</p>\n");
    put!(out, "<div class=\"scroll\" role=\"region\" aria-label=\"{title}, heat map\" tabindex=\"0\">");
    out.push_str("<table class=\"heat\">\n<thead><tr>");
    put!(out, "<th scope=\"col\">{}</th>", escape(&heat.names[0]));
    for name in &heat.beside {
        put!(out, "<th scope=\"col\" class=\"beside\">{}</th>", escape(name));
    }
    for (at, column) in heat.columns.iter().enumerate() {
        let name = if at == 0 { format!("{} {column}", heat.names[1]) } else { column.clone() };
        put!(out, "<th scope=\"col\">{}</th>", escape(&name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    heat.lines.iter().for_each(|line| grid_line(out, heat, line));
    out.push_str("</tbody></table></div>\n");
    scale(out, heat);
    for note in &heat.notes {
        put!(out, "<p class=\"note\">{}</p>\n", escape(note));
    }
}

fn grid_line(out: &mut String, heat: &Heat, line: &Line) {
    put!(out, "<tr><th scope=\"row\">{}</th>", escape(&line.label));
    for beside in &line.beside {
        put!(out, "<td class=\"beside\">{}</td>", escape(beside));
    }
    // What lies after a line's last number has not come yet, and needs no cells.
    let known = line.cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    for (value, is_lower) in
        line.cells.iter().take(known).map(|cell| cell.map_or((None, false), |(value, lower)| (Some(value), lower)))
    {
        match value {
            Some(value) => {
                let (bound, lower) = if is_lower { ("≥", " lower") } else { ("", "") };
                put!(out, "<td class=\"cell h{}{lower}\">{bound}{}</td>", heat.level(value), cell(value, heat.share));
            }
            None => out.push_str("<td></td>"),
        }
    }
    out.push_str("</tr>\n");
}

/// What the shades mean.
fn scale(out: &mut String, heat: &Heat) {
    out.push_str("<ul class=\"legend\" aria-label=\"Shades\"><li>0</li><li class=\"shades\">");
    for level in 1..=LEVELS {
        put!(out, "<span class=\"h{level}\"></span>");
    }
    put!(out, "</li><li>{}</li>", describe::shown(heat.most, heat.share));
    if heat.has_lower_bounds() {
        out.push_str("<li>≥ and a dashed border: lower bound</li>");
    }
    out.push_str("</ul>\n");
}

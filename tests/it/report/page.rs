//! A minimal HTML parser: the tags of a page, and the rows of its tables.

use std::collections::BTreeMap;

/// A tag: its name, which begins with `/` if the tag ends an element, and its attributes.
#[derive(Debug)]
pub struct Tag<'a> {
    pub name: &'a str,
    pub attributes: BTreeMap<&'a str, &'a str>,
    /// Offset of its end in the page.
    pub end: usize,
}

/// Returns all tags of a page, in order. The program wrote the page, so each `<` begins a tag.
pub fn tags(page: &str) -> Vec<Tag<'_>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(begin) = page[at..].find('<').map(|found| at + found) {
        let end = begin + page[begin..].find('>').expect("a tag ends");
        let inside = page[begin + 1..end].trim_end_matches('/');
        let (name, rest) = inside.split_once(char::is_whitespace).unwrap_or((inside, ""));
        tags.push(Tag { name, attributes: attributes(rest), end: end + 1 });
        at = end + 1;
    }
    tags
}

fn attributes(mut text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (value, rest) = rest.split_once('"').expect("an attribute ends");
        found.insert(name.trim(), value);
        text = rest;
    }
    found
}

/// Returns the part of the page with the metric of the query `name`.
pub fn article<'a>(page: &'a str, name: &str) -> &'a str {
    let begin = page.find(&format!("id=\"f-{name}\"")).unwrap_or_else(|| panic!("there is no metric {name}"));
    let end = page[begin..].find("</article>").expect("a metric ends");
    &page[begin..begin + end]
}

/// Returns the cells of the last table of a metric, row by row, as text, without the heading.
pub fn cells(article: &str) -> Vec<Vec<String>> {
    let table = article.rfind("<table").map_or("", |begin| &article[begin..]);
    let body = table.split("<tbody>").nth(1).and_then(|body| body.split("</tbody>").next()).unwrap_or("");
    let lines = body.split("<tr>").skip(1);
    lines.map(|line| line.split("</").filter_map(cell).collect()).collect()
}

/// Returns the text of a cell that begins in `piece`. `piece` ends at the first closing tag in the cell.
fn cell(piece: &str) -> Option<String> {
    let begin = piece.rfind("<td").or_else(|| piece.rfind("<th"))?;
    let text = piece[begin..].split_once('>')?.1;
    Some(plain(&text.replace("<small>", "")))
}

/// Replaces the entities in `text`.
pub fn plain(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}

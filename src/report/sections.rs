//! In which order the figures stand, and under which headings.

use super::figure::Figure;
use crate::query::Chart;

/// What the figures without a section stand under.
const OTHERS: &str = "More figures";

/// What single numbers stand under, whichever section they name: they are read first.
const GLANCE: &str = "At a glance";

/// A heading and the figures below it.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The heading.
    pub title: String,
    /// Whether it holds the single numbers.
    pub is_glance: bool,
    /// The figures, in order.
    pub figures: Vec<&'a Figure>,
}

/// The single numbers first, then each section in the order of its first figure; what has no order comes last,
/// by name.
pub(super) fn sections(figures: &[Figure]) -> Vec<Section<'_>> {
    let mut ordered: Vec<&Figure> = figures.iter().collect();
    ordered.sort_by_key(|figure| (order(figure), figure.query.name.clone()));
    let (glance, others): (Vec<_>, Vec<_>) =
        ordered.into_iter().partition(|figure| matches!(figure.query.chart, Chart::Stat));
    let mut sections = Vec::new();
    if !glance.is_empty() {
        sections.push(Section { title: GLANCE.to_owned(), is_glance: true, figures: glance });
    }
    let first = sections.len();
    let (named, rest): (Vec<&Figure>, Vec<&Figure>) =
        others.into_iter().partition(|figure| name(figure).is_some_and(|name| name != OTHERS));
    for figure in named.into_iter().chain(rest) {
        let title = name(figure).unwrap_or(OTHERS);
        match sections[first..].iter_mut().find(|section| section.title == title) {
            Some(section) => section.figures.push(figure),
            None => sections.push(Section { title: title.to_owned(), is_glance: false, figures: vec![figure] }),
        }
    }
    sections
}

fn order(figure: &Figure) -> i64 {
    figure.query.order.unwrap_or(i64::MAX)
}

fn name(figure: &Figure) -> Option<&str> {
    figure.query.section.as_deref().map(str::trim).filter(|name| !name.is_empty())
}

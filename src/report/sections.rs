//! The order of the metrics, and their headings.

use super::format::clean;
use super::metric::Metric;
use crate::query::Chart;

/// Heading of the metrics without a section.
const OTHERS: &str = "More metrics";

/// Heading of the single numbers, which come first whatever their section is.
const GLANCE: &str = "At a glance";

/// A heading and its metrics.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The heading.
    pub title: String,
    /// Whether the metrics are single numbers.
    pub is_glance: bool,
    /// The metrics, in order.
    pub metrics: Vec<&'a Metric>,
}

/// Groups the metrics by section.
///
/// The single numbers come first, then each section in the order of its first metric. Metrics without an order come
/// last, by name.
pub(super) fn sections(metrics: &[Metric]) -> Vec<Section<'_>> {
    let mut ordered: Vec<&Metric> = metrics.iter().collect();
    ordered.sort_by_key(|metric| (order(metric), metric.query.name.clone()));
    let (glance, others): (Vec<_>, Vec<_>) =
        ordered.into_iter().partition(|metric| matches!(metric.query.chart, Chart::Stat));
    let mut sections = Vec::new();
    if !glance.is_empty() {
        sections.push(Section { title: GLANCE.to_owned(), is_glance: true, metrics: glance });
    }
    let first = sections.len();
    let (named, rest): (Vec<&Metric>, Vec<&Metric>) =
        others.into_iter().partition(|metric| title(metric).is_some_and(|title| title != OTHERS));
    for metric in named.into_iter().chain(rest) {
        let title = title(metric).unwrap_or_else(|| OTHERS.to_owned());
        match sections[first..].iter_mut().find(|section| section.title == title) {
            Some(section) => section.metrics.push(metric),
            None => sections.push(Section { title, is_glance: false, metrics: vec![metric] }),
        }
    }
    sections
}

fn order(metric: &Metric) -> i64 {
    metric.query.order.unwrap_or(i64::MAX)
}

fn title(metric: &Metric) -> Option<String> {
    metric.query.section.as_deref().map(|title| clean(title.trim())).filter(|title| !title.is_empty())
}

//! Finds the name that was meant by a misspelled one.

/// How similar two names must be, 0 to 1, for one to be suggested for the other. Clap uses a similar limit for flags.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the known name that is most similar to `name`; `None` if none is similar. Letter case, and dashes in place of
/// underscores, do not matter.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let name = plain(name);
    let similarity = |known: &'a str| (strsim::jaro_winkler(&name, &plain(known)), known);
    let similar = known.into_iter().map(similarity).filter(|(similarity, _)| *similarity >= MIN_SIMILARITY);
    similar.max_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_suggested_if_there_is_one() {
        let known = ["history", "max_shrink", "max_rejected", "lake", "lanes"];
        for (name, wanted) in [
            ("max_shrnk", Some("max_shrink")),
            ("max-shrink", Some("max_shrink")),
            ("MAX_REJECT", Some("max_rejected")),
            ("histroy", Some("history")),
            ("lakes", Some("lake")),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), wanted, "{name}");
        }
    }
}

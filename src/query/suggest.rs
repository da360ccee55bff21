//! Suggests the names that a misspelled name may stand for.

use strsim::damerau_levenshtein;

/// The largest number of names that are suggested.
const MAX_NAMES: usize = 3;

/// Returns the names in `known` that `name` may stand for, the nearest first. Empty if none is near.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let mut found: Vec<(usize, &str)> = Vec::new();
    for candidate in known {
        if let Some(distance) = distance(&name, &candidate.to_lowercase())
            && !found.iter().any(|(_, other)| *other == candidate)
        {
            found.push((distance, candidate));
        }
    }
    found.sort_unstable();
    let best = found.first().map_or(0, |(distance, _)| *distance);
    found.into_iter().filter(|(distance, _)| *distance <= best + 1).map(|(_, name)| name).take(MAX_NAMES).collect()
}

/// Returns a sentence that suggests the nearest of `known`; `None` if none is near.
#[must_use]
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names = nearest(name, known);
    let (last, others) = names.split_last()?;
    let others = if others.is_empty() { String::new() } else { format!("{} or ", others.join(", ")) };
    Some(format!("did you mean {others}{last}?"))
}

/// Returns how far apart the names are; `None` if they are not alike. A name that is a whole part of the other, such as
/// `user` in `clerk_user`, is near.
fn distance(name: &str, candidate: &str) -> Option<usize> {
    let distance = damerau_levenshtein(name, candidate);
    let singular = name.strip_suffix('s').unwrap_or(name);
    let is_part = name.len() >= 3 && candidate.split(['_', '.']).any(|part| part == name || part == singular);
    if is_part {
        return Some(distance.min(2));
    }
    let longest = name.chars().count().max(candidate.chars().count());
    (distance <= (longest / 3).clamp(1, 4) && distance < longest).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_suggested() {
        let known = ["clerk_user", "clerk_user_activity", "clerk_session", "sign_ups", "growth", "email"];
        for (name, expected) in [
            ("clerk_usr", "did you mean clerk_user?"),
            ("sign_up", "did you mean sign_ups?"),
            ("emial", "did you mean email?"),
            ("Growht", "did you mean growth?"),
            ("sessions", "did you mean clerk_session?"),
            ("users", "did you mean clerk_user or clerk_user_activity?"),
        ] {
            assert_eq!(suggestion(name, known).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(suggestion("invoices", known), None);
        assert_eq!(suggestion("x", known), None);
    }
}

//! Labels for the names of columns and for the values of text columns.

use super::format::{capitalized, clean};

/// Label of a missing value that names a row, a column or a series.
pub(super) const NO_NAME: &str = "(none)";

/// Column names that are written in capitals.
const CAPITALS: [&str; 8] = ["dau", "wau", "mau", "id", "url", "api", "ip", "utc"];

/// Labels of sign-in providers whose names are not sentence case.
const PROVIDERS: [(&str, &str); 15] = [
    ("bitbucket", "Bitbucket"),
    ("email", "E-mail"),
    ("email_address", "E-mail"),
    ("github", "GitHub"),
    ("gitlab", "GitLab"),
    ("hubspot", "HubSpot"),
    ("huggingface", "Hugging Face"),
    ("linkedin", "LinkedIn"),
    ("linkedin_oidc", "LinkedIn"),
    ("phone_number", "Phone"),
    ("tiktok", "TikTok"),
    ("web3", "Web3 wallet"),
    ("web3_wallet", "Web3 wallet"),
    ("x", "X"),
    ("xero", "Xero"),
];

/// Words of column names. The values of these columns are names of sign-in providers.
const PROVIDER_COLUMNS: [&str; 3] = ["provider", "strategy", "method"];

/// Last words of column names. People or programs choose the values of these columns, so they are shown verbatim.
const VERBATIM: [&str; 10] = ["domain", "email", "id", "instance", "key", "name", "slug", "title", "url", "username"];

/// Returns the label of a column: `sign_ups` becomes Sign-ups.
pub(super) fn column(name: &str) -> String {
    let name = clean(name);
    if CAPITALS.contains(&name.as_str()) {
        return name.to_uppercase();
    }
    let words = name.replace("sign_up", "sign-up").replace("sign_in", "sign-in").replace('_', " ");
    capitalized(&words)
}

/// Returns the label of a value of the text column `column`.
///
/// Providers have their usual names: `oauth_google` becomes Google. Other identifiers with underscores become sentence
/// case. All other text is shown as it is.
pub(super) fn value(column: &str, text: &str) -> String {
    let text = clean(text);
    let column = column.to_lowercase();
    let words = || column.split('_');
    if words().next_back().is_some_and(|last| VERBATIM.contains(&last)) || !is_identifier(&text) {
        return text;
    }
    let stripped = text.strip_prefix("oauth_");
    if stripped.is_some() || words().any(|word| PROVIDER_COLUMNS.contains(&word)) {
        return provider(stripped.unwrap_or(&text));
    }
    if text.contains('_') { capitalized(&text.replace('_', " ")) } else { text }
}

fn provider(name: &str) -> String {
    let known = PROVIDERS.iter().find(|(key, _)| *key == name);
    known.map_or_else(|| capitalized(&name.replace('_', " ")), |(_, label)| (*label).to_owned())
}

/// Whether `text` is an identifier of an enumeration: lower-case words joined by underscores.
fn is_identifier(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.split('_').all(is_word) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{column, value};

    #[test]
    fn column_names_become_words() {
        assert_eq!([column("sign_ups"), column("dau"), column("Plan")].join(" "), "Sign-ups DAU Plan");
        assert_eq!(column("new_sign_ups_total"), "New sign-ups total");
    }

    #[test]
    fn providers_have_their_usual_names() {
        let found = |text: &str| value("provider", text);
        assert_eq!(["google", "oauth_google", "github"].map(found).join(" "), "Google Google GitHub");
        assert_eq!(["apple", "microsoft", "email", "phone"].map(found).join(" "), "Apple Microsoft E-mail Phone");
        assert_eq!(["username", "passkey", "other"].map(found).join(" "), "Username Passkey Other");
        assert_eq!(
            ["web3", "oauth_custom_my_idp", "(none)"].map(found).join(", "),
            "Web3 wallet, Custom my idp, (none)"
        );
        assert_eq!(value("kind", "oauth_github"), "GitHub");
    }

    #[test]
    fn identifiers_become_sentence_case_and_names_stay_verbatim() {
        assert_eq!(value("status", "pending_activation"), "Pending activation");
        assert_eq!([value("status", "active"), value("device", "iPhone_X")].join(" "), "active iPhone_X");
        assert_eq!([value("organization_name", "my_org"), value("slug", "my_org")].join(" "), "my_org my_org");
        assert_eq!(value("user_id", "oauth_google"), "oauth_google");
    }
}

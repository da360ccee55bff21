//! Parts of JSON text that rows consist of.

use std::fmt::Write;

/// The content of all private metadata, and of everything else that must never appear in a lake.
pub const PRIVATE_MARKER: &str = "private-marker-do-not-store";

/// Writes a JSON string, including the quotes.
pub fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..at]);
        let _ = write!(out, "\\u{byte:04x}");
        clean = at + 1;
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// Writes a JSON string, or null.
pub(super) fn optional(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.push_str("null"),
    }
}

/// Writes a JSON number, or null.
pub(super) fn number(out: &mut String, number: Option<i64>) {
    match number {
        Some(number) => {
            let _ = write!(out, "{number}");
        }
        None => out.push_str("null"),
    }
}

/// Writes the address of a picture as the field `name`.
pub(super) fn image(out: &mut String, name: &str, id: &str) {
    let _ = write!(
        out,
        ",\"{name}\":\"https://img.clerk.example/eyJ0eXBlIjoiZGVmYXVsdCIsImlpZCI6Imluc18ifQ/{id}/{id}?width=160&quality=85&fit=crop\""
    );
}

/// Writes an array as the field `name`.
pub(super) fn list<T>(out: &mut String, name: &str, rows: &[T], mut write: impl FnMut(&mut String, &T)) {
    let _ = write!(out, ",\"{name}\":[");
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, row);
    }
    out.push(']');
}

/// Returns a verification, as JSON.
pub(super) fn verification(status: &str, strategy: &str) -> String {
    let (object, error) = match strategy {
        "email_code" | "phone_code" => ("verification_otp", ""),
        "saml" => ("verification_saml", ",\"error\":null,\"external_verification_redirect_url\":null"),
        _ => ("verification_oauth", ",\"error\":null"),
    };
    format!(
        "{{\"object\":\"{object}\",\"status\":\"{status}\",\"strategy\":\"{strategy}\",\"attempts\":1,\"expire_at\":1893456000000,\
         \"verified_at_client\":null{error}}}"
    )
}

/// Returns whether an organization has a logo of its own.
pub(super) fn has_logo(id: &str) -> bool {
    spread(id).is_multiple_of(3)
}

/// Returns a number that differs between ids.
pub(super) fn spread(id: &str) -> usize {
    id.bytes().fold(7, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) >> 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_strings_parse_back_as_json() {
        for text in ["", "plain", "a \"quoted\" \\ back", "new\nline", "Zoë 🦀"] {
            let mut out = String::new();
            string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}

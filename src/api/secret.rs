//! The secret key. It can be sent, but no `Debug` output, error or log line shows it.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// A Clerk secret key. Its text leaves this type only as the `Authorization` header.
#[derive(Clone)]
pub struct SecretKey(String);

/// The kind of a key, which determines its request budget at Clerk (Backend API, "Rate limits").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// `sk_live_…`: 1000 requests per 10 s.
    Live,
    /// `sk_test_…` and unknown prefixes: 100 requests per 10 s.
    Test,
}

impl SecretKey {
    /// The hint that every error about a missing or invalid key shows: where to get a key and how to set it.
    pub const WHERE_FROM: &str = "copy the secret key from the Clerk Dashboard (API keys) and set it: \
         export CLERK_SECRET_KEY=sk_live_…, or CLERK_SECRET_KEY_FILE=/path/to/a/file that contains it";

    /// Creates a key from the text found in the environment or a file. Surrounding white space is removed.
    ///
    /// # Errors
    /// [`Settings`](crate::ErrorKind::Settings) if the text is empty, is a publishable key, starts with a quotation
    /// mark, or contains characters that a key cannot have.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::settings("the Clerk secret key is empty").with_hint(Self::WHERE_FROM));
        }
        if text.starts_with(['"', '\'']) {
            return Err(Error::settings(
                "the Clerk secret key begins with a quotation mark, which is not part of a key",
            )
            .with_hint("docker --env-file takes quotation marks literally: write CLERK_SECRET_KEY=sk_live_…"));
        }
        if text.starts_with("pk_") {
            return Err(Error::settings("this is a publishable key (pk_…); a sync needs the secret key (sk_…)")
                .with_hint(Self::WHERE_FROM));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::settings(
                "the Clerk secret key contains spaces or other characters that are not allowed in a key",
            )
            .with_hint(Self::WHERE_FROM));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the kind of the key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        if self.0.starts_with("sk_live_") { KeyKind::Live } else { KeyKind::Test }
    }

    /// Returns a name for the key from which the key cannot be recovered: the first 16 hexadecimal digits of a SHA-256
    /// over it. Different keys have different names, so that work started with one key is not resumed with another.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new().chain_update("clerk-lake key fingerprint\n").chain_update(&self.0).finalize();
        digest.iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Returns `text` with every occurrence of the key replaced. Use it for text written by a server.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }

    /// Returns the value of the `Authorization` header.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([key])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_distinguish_keys_without_revealing_them() {
        let [one, other] = ["sk_test_one", "sk_test_other"].map(|text| SecretKey::new(text).unwrap().fingerprint());
        assert_eq!(one.len(), 16);
        assert_ne!(one, other);
        assert_eq!(one, SecretKey::new(" sk_test_one\n").unwrap().fingerprint());
        assert!(!one.contains("one"));
    }
}

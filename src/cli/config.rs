//! The environment, the secret key and the clock. Only this file reads the environment.

use chrono::{DateTime, Utc};
use clap::{Arg, Command};
use clerk_lake::api::SecretKey;
use clerk_lake::clock::Clock;
use clerk_lake::{Error, Result};

/// Reads the key from `CLERK_SECRET_KEY`, or from the file that `CLERK_SECRET_KEY_FILE` names.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if neither is set, the file cannot be read, or the key is malformed.
pub fn secret_key() -> Result<SecretKey> {
    if let Some(key) = environment("CLERK_SECRET_KEY").filter(|key| !key.trim().is_empty()) {
        return SecretKey::new(&key);
    }
    let Some(file) = environment("CLERK_SECRET_KEY_FILE") else {
        return Err(Error::settings("no Clerk secret key is set").with_hint(SecretKey::WHERE_FROM));
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        // The variable may hold the key itself by mistake. The key must not be printed.
        let named = if file.contains("sk_") { "named by CLERK_SECRET_KEY_FILE" } else { file.as_str() };
        Error::settings(format!("the key file {named} cannot be read: {error}")).with_hint(SecretKey::WHERE_FROM)
    })?;
    SecretKey::new(&text)
}

/// Returns the clock fixed at `CLERK_LAKE_NOW` (RFC 3339), which is for tests. If it is not set, returns the system
/// clock.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if it is not a timestamp.
pub fn clock() -> Result<Clock> {
    let Some(text) = environment("CLERK_LAKE_NOW") else { return Ok(Clock::system()) };
    let now = DateTime::parse_from_rfc3339(&text)
        .map_err(|error| Error::settings(format!("CLERK_LAKE_NOW={text} is not an RFC 3339 timestamp: {error}")))?;
    Ok(Clock::fixed(now.with_timezone(&Utc)))
}

/// Returns an environment variable, or `None` if it is not set, empty or not valid Unicode.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    environment_or_empty(name).filter(|value| !value.is_empty())
}

/// Returns an environment variable whose empty value has a meaning, or `None` if it is not set or not valid Unicode.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
pub fn environment_or_empty(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns `command` without the environment variables that are empty: an empty variable counts as unset.
#[must_use]
pub fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().is_some_and(|name| std::env::var_os(name).is_some_and(|it| it.is_empty()));
    let command = command.mut_args(|arg| if is_empty(&arg) { arg.env(None::<&str>) } else { arg });
    command.mut_subcommands(without_empty_variables)
}

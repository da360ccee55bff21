//! Settings: flags over environment over `clerk-lake.toml` over the user's own file over defaults, and the key.
//!
//! The one place that reads the environment. A flag, its key in the file and its variable have one name and
//! one parser: a value from the file becomes the flag's default before the command line is read.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Command;
use toml::{Table, Value};

use clerk_lake::api::SecretKey;
use clerk_lake::clock::Clock;
use clerk_lake::{Error, Result};

/// The settings file that is read if none is named.
pub const DEFAULT_FILE: &str = "clerk-lake.toml";

/// Reads the key from `CLERK_SECRET_KEY`, or from the file that `CLERK_SECRET_KEY_FILE` names.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) where neither is set or the key cannot be one.
pub fn secret_key() -> Result<SecretKey> {
    if let Some(key) = environment("CLERK_SECRET_KEY").filter(|key| !key.trim().is_empty()) {
        return SecretKey::new(&key);
    }
    let Some(file) = environment("CLERK_SECRET_KEY_FILE").filter(|file| !file.is_empty()) else {
        return Err(Error::settings("no Clerk secret key is set").with_hint(SecretKey::WHERE_FROM));
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        // The variable may hold the key itself, which must not be repeated.
        let named = if file.contains("sk_") { "that CLERK_SECRET_KEY_FILE names" } else { file.as_str() };
        Error::settings(format!("the key file {named} cannot be read: {error}")).with_hint(SecretKey::WHERE_FROM)
    })?;
    SecretKey::new(&text)
}

/// The clock that `CLERK_LAKE_NOW` sets (RFC 3339), for tests; the operating system's if nothing does.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if it is not a moment.
pub fn clock() -> Result<Clock> {
    let Some(text) = environment("CLERK_LAKE_NOW").filter(|text| !text.is_empty()) else { return Ok(Clock::system()) };
    let moment = DateTime::parse_from_rfc3339(&text)
        .map_err(|error| Error::settings(format!("CLERK_LAKE_NOW {text:?} is not a moment (RFC 3339): {error}")))?;
    Ok(Clock::fixed(moment.with_timezone(&Utc)))
}

/// Returns a variable of the environment, or `None` if it is not set or not text.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the front door for the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The command line's defaults, as the settings files change them.
#[derive(Debug)]
pub struct Settings {
    /// The command, with the values of the settings files as its defaults.
    pub command: Command,
    /// Whether a `lake` comes from the settings file that lies in the working directory.
    pub is_lake_found: bool,
    /// Whether that file says where Clerk is. It is not heeded: whoever can put a file there could have the key sent
    /// anywhere.
    pub is_address_found: bool,
}

/// `command` with the values of the settings files as its defaults: those of `file`, which the user named, or else of
/// the `clerk-lake.toml` in the working directory, over those of the user's own file.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if a file cannot be read or names a setting that no flag has.
pub fn with_files(command: Command, file: Option<&Path>) -> Result<Settings> {
    let mut settings = Settings { command, is_lake_found: false, is_address_found: false };
    if let Some(own) = user_file()
        && let Some(values) = read(&own, false)?
    {
        settings.command = with_defaults(settings.command, &own, &values)?;
    }
    let path = file.map_or_else(|| PathBuf::from(DEFAULT_FILE), Path::to_path_buf);
    let Some(mut values) = read(&path, file.is_some())? else { return Ok(settings) };
    if file.is_none() {
        settings.is_lake_found = values.contains_key("lake");
        settings.is_address_found = values.remove("api_url").is_some();
    }
    settings.command = with_defaults(settings.command, &path, &values)?;
    Ok(settings)
}

/// The user's own settings file: `clerk-lake/config.toml` in `XDG_CONFIG_HOME`, or else in `~/.config`.
#[must_use]
pub fn user_file() -> Option<PathBuf> {
    let directory = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || directory("HOME").map(|home| home.join(".config"));
    Some(directory("XDG_CONFIG_HOME").or_else(home)?.join("clerk-lake").join("config.toml"))
}

/// The settings in a file; `None` if it is not there and need not be.
fn read(path: &Path, is_named: bool) -> Result<Option<Table>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if !is_named && matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(error) => return Err(wrong(path, &error.to_string())),
    };
    text.parse().map(Some).map_err(|error| not_toml(path, &text, &error))
}

fn with_defaults(command: Command, path: &Path, settings: &Table) -> Result<Command> {
    settings.iter().try_fold(command, |command, (name, value)| with_default(command, path, name, value))
}

fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    wrong(path, &format!("line {line}: {}", error.message()))
        .with_hint("a setting is a line such as rate_limit = 100, and text stands between quotes: history = \"7d\"")
}

fn with_default(command: Command, path: &Path, name: &str, value: &Value) -> Result<Command> {
    let values = texts(value).ok_or_else(|| wrong(path, &format!("{name} is neither a value nor a list of values")))?;
    if name.contains("secret") || name.contains("key") {
        return Err(wrong(
            path,
            &format!("{name} does not belong in a file that is shared; {}", SecretKey::WHERE_FROM),
        ));
    }
    let mut known = false;
    let command = set(command, name, &values, &mut known);
    if known { Ok(command) } else { Err(wrong(path, &format!("there is no setting called {name}"))) }
}

fn set(command: Command, name: &str, values: &[String], known: &mut bool) -> Command {
    let here = command.get_arguments().any(|argument| argument.get_id() == name);
    *known |= here;
    let command =
        if here { command.mut_arg(name, |argument| argument.default_values(values.to_vec())) } else { command };
    let children: Vec<String> = command.get_subcommands().map(|child| child.get_name().to_owned()).collect();
    children
        .into_iter()
        .fold(command, |command, child| command.mut_subcommand(child, |child| set(child, name, values, known)))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Float(number) => Some(vec![number.to_string()]),
        Value::Boolean(flag) => Some(vec![flag.to_string()]),
        Value::Array(values) => values.iter().map(|value| texts(value)?.pop()).collect(),
        Value::Datetime(moment) => Some(vec![moment.to_string()]),
        Value::Table(_) => None,
    }
}

fn wrong(path: &Path, why: &str) -> Error {
    Error::settings(format!("the settings file {}: {why}", path.display()))
        .with_hint("its keys are the flags' names with underscores, such as dau_lookback_days = 30")
}

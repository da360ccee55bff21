//! Settings and the secret key.
//!
//! The order of precedence is: flags, environment, `clerk-lake.toml`, the user's own settings file, defaults. Only this
//! file reads the environment. A flag, its key in a settings file and its variable share one name and one parser: a
//! value from a file becomes the flag's default before the command line is parsed.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Command;
use toml::{Table, Value};

use clerk_lake::api::SecretKey;
use clerk_lake::clock::Clock;
use clerk_lake::{Error, Result};

/// The settings file that is read if none is given.
pub const DEFAULT_FILE: &str = "clerk-lake.toml";

/// Reads the key from `CLERK_SECRET_KEY`, or from the file that `CLERK_SECRET_KEY_FILE` names.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if neither is set, the file cannot be read, or the key is malformed.
pub fn secret_key() -> Result<SecretKey> {
    if let Some(key) = environment("CLERK_SECRET_KEY").filter(|key| !key.trim().is_empty()) {
        return SecretKey::new(&key);
    }
    let Some(file) = environment("CLERK_SECRET_KEY_FILE").filter(|file| !file.is_empty()) else {
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
    let Some(text) = environment("CLERK_LAKE_NOW").filter(|text| !text.is_empty()) else { return Ok(Clock::system()) };
    let now = DateTime::parse_from_rfc3339(&text)
        .map_err(|error| Error::settings(format!("CLERK_LAKE_NOW={text} is not an RFC 3339 timestamp: {error}")))?;
    Ok(Clock::fixed(now.with_timezone(&Utc)))
}

/// Returns an environment variable, or `None` if it is not set or not valid Unicode.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the only place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The command with its defaults from the settings files.
#[derive(Debug)]
pub struct Settings {
    /// The command, with the values of the settings files as its defaults.
    pub command: Command,
    /// Whether the settings file in the working directory sets `lake`.
    pub sets_lake: bool,
    /// Whether the settings file in the working directory sets `api_url`. The value is not used: anyone who can write
    /// a file there could redirect the secret key.
    pub sets_api_url: bool,
}

/// Returns `command` with the values of the settings files as its defaults.
///
/// The values of `file`, or of `clerk-lake.toml` in the working directory if `file` is `None`, override those of the
/// user's own file.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if a file cannot be read, or has a key that matches
/// no flag.
pub fn with_files(command: Command, file: Option<&Path>) -> Result<Settings> {
    let mut settings = Settings { command, sets_lake: false, sets_api_url: false };
    if let Some(own) = user_file()
        && let Some(values) = read(&own, false)?
    {
        settings.command = with_defaults(settings.command, &own, &values)?;
    }
    let path = file.map_or_else(|| PathBuf::from(DEFAULT_FILE), Path::to_path_buf);
    let Some(mut values) = read(&path, file.is_some())? else { return Ok(settings) };
    if file.is_none() {
        settings.sets_lake = values.contains_key("lake");
        settings.sets_api_url = values.remove("api_url").is_some();
    }
    settings.command = with_defaults(settings.command, &path, &values)?;
    Ok(settings)
}

/// Returns the path of the user's own settings file: `clerk-lake/config.toml` in `XDG_CONFIG_HOME` or `~/.config`.
#[must_use]
pub fn user_file() -> Option<PathBuf> {
    let directory = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || directory("HOME").map(|home| home.join(".config"));
    Some(directory("XDG_CONFIG_HOME").or_else(home)?.join("clerk-lake").join("config.toml"))
}

/// Reads a settings file. Returns `None` if it does not exist and is not required.
fn read(path: &Path, is_required: bool) -> Result<Option<Table>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if !is_required && matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
        Err(error) => return Err(settings_file_error(path, &error.to_string())),
    };
    text.parse().map(Some).map_err(|error| toml_error(path, &text, &error))
}

fn with_defaults(command: Command, path: &Path, settings: &Table) -> Result<Command> {
    settings.iter().try_fold(command, |command, (name, value)| with_default(command, path, name, value))
}

fn toml_error(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    settings_file_error(path, &format!("line {line}: {}", error.message()))
        .with_hint("a setting is a line such as rate_limit = 100; text needs quotes: history = \"7d\"")
}

fn with_default(command: Command, path: &Path, name: &str, value: &Value) -> Result<Command> {
    let values = texts(value)
        .ok_or_else(|| settings_file_error(path, &format!("{name} is neither a value nor a list of values")))?;
    if name.contains("secret") || name.contains("key") {
        return Err(settings_file_error(
            path,
            &format!("{name} does not belong in a file that is shared; {}", SecretKey::WHERE_FROM),
        ));
    }
    let mut known = false;
    let command = set(command, name, &values, &mut known);
    if known { Ok(command) } else { Err(settings_file_error(path, &format!("there is no setting called {name}"))) }
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
        Value::Datetime(time) => Some(vec![time.to_string()]),
        Value::Table(_) => None,
    }
}

fn settings_file_error(path: &Path, why: &str) -> Error {
    Error::settings(format!("the settings file {}: {why}", path.display()))
        .with_hint("its keys are the flags' names with underscores, such as dau_lookback_days = 30")
}

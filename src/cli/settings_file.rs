//! Settings files: their syntax, and where in a file a setting is.
//!
//! A key is the name of a flag with underscores. At the top level it applies to every command that has the flag; in a
//! table such as `[sync]`, to that command.

use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use clerk_lake::api::SecretKey;
use clerk_lake::{Error, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::suggest::nearest;

/// A settings file.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    text: String,
    /// The settings, those at the top level first.
    pub settings: Vec<FileSetting>,
}

/// One setting of a file.
#[derive(Clone, Debug)]
pub struct FileSetting {
    /// The command that it is for; `None` at the top level.
    pub command: Option<String>,
    /// The key.
    pub name: String,
    /// The values: several if the file has a list.
    pub values: Vec<String>,
    /// Where the key begins in the file, in bytes.
    key_at: usize,
    /// Where the value begins in the file, in bytes.
    pub value_at: usize,
}

impl SettingsFile {
    /// Reads a file whose keys must be flags of `root` or its commands. Returns `None` if the file does not exist and is
    /// not required.
    ///
    /// # Errors
    /// [`Settings`](clerk_lake::ErrorKind::Settings) if the file cannot be read, or has a key that matches no flag.
    pub fn read(path: &Path, is_required: bool, root: &Command) -> Result<Option<Self>> {
        use std::io::ErrorKind::{NotADirectory, NotFound};
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if !is_required && matches!(error.kind(), NotFound | NotADirectory) => return Ok(None),
            Err(error) => return Err(Error::settings(format!("the settings file {}: {error}", path.display()))),
        };
        let mut file = Self { path: path.to_path_buf(), text, settings: Vec::new() };
        file.settings = file.parse(root)?;
        for setting in &file.settings {
            file.check(setting, root)?;
        }
        Ok(Some(file))
    }

    /// Returns an error about the place `at` in the file, with the file, the line and the column.
    pub fn error_at(&self, at: usize, why: &str) -> Error {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::settings(format!("the settings file {}, line {line}, column {column}: {why}", self.path.display()))
            .with_hint("its keys are the flags' names with underscores, such as dau_lookback_days = 30")
    }

    fn parse(&self, root: &Command) -> Result<Vec<FileSetting>> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            self.error_at(error.span().map_or(0, |span| span.start), error.message())
                .with_hint("a setting is a line such as rate_limit = 100; text needs quotes: history = \"7d\"")
        })?;
        let (mut settings, mut of_commands) = (Vec::new(), Vec::new());
        for (key, value) in table.get_ref() {
            let name = key.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(table) if let Some(command) = root.find_subcommand(name) => {
                    for (key, value) in table {
                        of_commands.push(self.setting(Some(command.get_name()), key, value)?);
                    }
                }
                DeValue::Table(_) if !all_names(root).any(|known| known == name) => {
                    return Err(self.no_command(key.span().start, name, root));
                }
                _ => settings.push(self.setting(None, key, value)?),
            }
        }
        settings.extend(of_commands);
        Ok(settings)
    }

    fn setting(
        &self,
        command: Option<&str>,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<FileSetting> {
        let name = key.get_ref().to_string();
        let values = texts(value.get_ref()).ok_or_else(|| {
            self.error_at(value.span().start, &format!("{name} is neither a value nor a list of values"))
        })?;
        let command = command.map(str::to_owned);
        Ok(FileSetting { command, name, values, key_at: key.span().start, value_at: value.span().start })
    }

    /// Refuses keys, and settings that are no flag of the command.
    fn check(&self, setting: &FileSetting, root: &Command) -> Result<()> {
        let name = setting.name.as_str();
        if name.contains("secret") || name.contains("key") {
            let why = format!("{name} does not belong in a file that is shared; {}", SecretKey::WHERE_FROM);
            return Err(self.error_at(setting.key_at, &why));
        }
        let command = setting.command.as_deref().and_then(|command| root.find_subcommand(command));
        let is_known = match command {
            Some(command) => setting_arg(root, command, setting).is_some(),
            None => root.get_subcommands().any(|command| setting_arg(root, command, setting).is_some()),
        };
        if is_known {
            return Ok(());
        }
        let place = command.map_or_else(String::new, |command| format!(" of {}", command.get_name()));
        let error = self.error_at(setting.key_at, &format!("there is no setting called {name}{place}"));
        let others = command.map_or_else(Vec::new, |_| commands_with(root, name));
        let meant = match command {
            Some(command) => nearest(name, names_of(root, command)),
            None => nearest(name, all_names(root)),
        };
        Err(match (meant, others.as_slice()) {
            (_, [first, ..]) => {
                error.with_hint(format!("it is a setting of {}: put it under [{first}]", others.join(", ")))
            }
            (Some(meant), _) => error.with_hint(format!("did you mean {meant}?")),
            (None, _) => error,
        })
    }

    fn no_command(&self, at: usize, name: &str, root: &Command) -> Error {
        let commands = || root.get_subcommands().map(Command::get_name);
        let error = self.error_at(at, &format!("there is no command called {name}"));
        match nearest(name, commands()) {
            Some(meant) => error.with_hint(format!("did you mean [{meant}]?")),
            None => error
                .with_hint(format!("a table has the name of a command: {}", commands().collect::<Vec<_>>().join(", "))),
        }
    }
}

/// Returns the flag of `command` that a setting sets; `None` if it sets none. A flag that all commands have belongs to
/// `root`.
///
/// At the top level, a setting is meant for all commands whose flags have this id: `format` of `schema` has another
/// meaning than that of `query`, and therefore another id.
pub fn setting_arg<'c>(root: &'c Command, command: &'c Command, setting: &FileSetting) -> Option<&'c Arg> {
    let is_in_table = setting.command.is_some();
    let is_named = |arg: &&Arg| {
        arg.get_id() == setting.name.as_str()
            || (is_in_table && setting_name(arg) == setting.name)
            || hidden_aliases(arg).any(|alias| alias == setting.name)
    };
    command.get_arguments().chain(root.get_arguments()).filter(|arg| is_setting(arg)).find(is_named)
}

/// Returns whether a flag can be set in a file. An argument without a flag says what to do in one run, and the names of
/// settings files would come too late.
fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some() && !matches!(arg.get_id().as_str(), "help" | "version" | "config")
}

/// Returns the other names of a flag that its help does not show. They name the setting too: `resources = "all"`.
fn hidden_aliases(arg: &Arg) -> impl Iterator<Item = &str> {
    let shown = arg.get_visible_aliases().unwrap_or_default();
    let all = arg.get_all_aliases().unwrap_or_default();
    all.into_iter().filter(move |alias| !shown.contains(alias))
}

fn setting_name(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().replace('-', "_")
}

/// Returns the names of the settings of a command.
fn names_of<'c>(root: &'c Command, command: &'c Command) -> impl Iterator<Item = &'c str> {
    let args = command.get_arguments().chain(root.get_arguments());
    args.filter(|arg| is_setting(arg)).map(|arg| arg.get_id().as_str())
}

fn all_names(root: &Command) -> impl Iterator<Item = &str> {
    root.get_subcommands().flat_map(move |command| names_of(root, command))
}

/// Returns the commands that have a setting called `name`.
fn commands_with<'c>(root: &'c Command, name: &str) -> Vec<&'c str> {
    let has = |command: &&Command| names_of(root, command).any(|known| known == name);
    root.get_subcommands().filter(has).map(Command::get_name).collect()
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Integer(number) => Some(vec![integer(number)]),
        DeValue::Float(number) => Some(vec![number.to_string()]),
        DeValue::Boolean(flag) => Some(vec![flag.to_string()]),
        DeValue::Datetime(time) => Some(vec![time.to_string()]),
        DeValue::Array(values) => values.iter().map(|value| texts(value.get_ref())?.pop()).collect(),
        DeValue::Table(_) => None,
    }
}

/// Returns an integer in decimal digits, however the file writes it.
fn integer(number: &toml::de::DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |number| number.to_string())
}

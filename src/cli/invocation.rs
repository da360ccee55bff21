//! Parses the command line.
//!
//! The order of precedence is: flags, environment, `clerk-lake.toml` or the file given by `--config`, the user's own
//! settings file, defaults. A flag, its key in a settings file and its variable share one name and one parser: a value
//! from a file becomes the flag's default. So the command line is parsed twice: first alone, because help and some
//! commands must work whatever the settings files hold; then with the values of the files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, ColorChoice, Command, CommandFactory, FromArgMatches};
use clerk_lake::{Error, Result};

use super::arguments::Cli;
use super::config;
use super::settings_file::{FileSetting, SettingsFile, setting_arg};
use super::terminal::Terminal;

/// The settings file that is read if none is given.
pub const DEFAULT_FILE: &str = "clerk-lake.toml";

/// Commands that no setting changes.
const WITHOUT_SETTINGS: [&str; 2] = ["completions", "man"];

/// Commands that need no settings. If the settings cannot be read, these commands warn and work without them.
const SETTINGS_OPTIONAL: [&str; 3] = ["schema", "simulate", "demo"];

/// Parses the command line of this process. The inner error is a message of clap: help, the version or a usage error.
///
/// # Errors
/// [`Settings`](clerk_lake::ErrorKind::Settings) if a settings file cannot be read or has an invalid setting.
pub fn parse(terminal: &mut Terminal) -> Result<std::result::Result<Cli, clap::Error>> {
    let root = config::without_empty_variables(Cli::command()).color(color());
    let alone = match root.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(usage) => return Ok(Err(usage)),
    };
    let name = alone.subcommand_name().unwrap_or_default().to_owned();
    if WITHOUT_SETTINGS.contains(&name.as_str()) {
        return Ok(cli(alone));
    }
    match with_settings(&root, &name, &alone) {
        Ok((matches, used)) => {
            let cli = cli(matches);
            if let (Some(used), Ok(false)) = (used, cli.as_ref().map(|cli| cli.quiet)) {
                let _ = writeln!(terminal.err(), "{used}");
            }
            Ok(cli)
        }
        Err(error) if SETTINGS_OPTIONAL.contains(&name.as_str()) => {
            let cli = cli(alone);
            if cli.as_ref().is_ok_and(|cli| !cli.quiet) {
                let _ = writeln!(terminal.err(), "warning: settings are ignored: {error}");
            }
            Ok(cli)
        }
        Err(error) => Err(error),
    }
}

fn cli(mut matches: ArgMatches) -> std::result::Result<Cli, clap::Error> {
    let flags = locating_flags(&matches);
    let mut cli = Cli::from_arg_matches_mut(&mut matches)?;
    cli.locating_flags = flags;
    Ok(cli)
}

/// Parses the command line with the values of the settings files. Also returns a line that names the settings used from
/// the file of the working directory, which may come from someone else.
fn with_settings(root: &Command, name: &str, alone: &ArgMatches) -> Result<(ArgMatches, Option<String>)> {
    let file = of_command(alone).and_then(|it| it.get_one::<PathBuf>("config"));
    let settings = Settings::collect(root, name, &given(alone), file.map(PathBuf::as_path))?;
    let used = settings.used_from_working_directory();
    let matches = settings.as_defaults(root.clone(), name).try_get_matches();
    Ok((matches.map_err(|usage| settings.explain(root, name, &usage))?, used))
}

fn of_command(matches: &ArgMatches) -> Option<&ArgMatches> {
    matches.subcommand().map(|(_, of_command)| of_command)
}

/// Returns the ids of the arguments that a flag or an environment variable sets.
fn given(matches: &ArgMatches) -> Vec<String> {
    let Some(of_command) = of_command(matches) else { return Vec::new() };
    let is_given =
        |id: &str| matches!(of_command.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    of_command.ids().map(|id| id.as_str().to_owned()).filter(|id| is_given(id)).collect()
}

/// Returns the flags of this command line that another command needs to find the same lake.
fn locating_flags(matches: &ArgMatches) -> String {
    let Some(of_command) = of_command(matches) else { return String::new() };
    let flag = |id: &str| {
        let is_given = of_command.value_source(id) == Some(ValueSource::CommandLine);
        let values = of_command.get_raw(id).into_iter().flatten().filter(move |_| is_given);
        values.map(|value| format!(" --{id} {}", shell_word(&value.to_string_lossy()))).collect::<Vec<_>>().concat()
    };
    ["lake", "config"].map(flag).concat()
}

/// Returns `text` as one word for a POSIX shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the choice of `--color`. It is needed before the command line is parsed, because it applies to help too.
fn color() -> ColorChoice {
    let mut arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let mut choice = config::environment("CLERK_LAKE_COLOR");
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        if argument == "--color" {
            choice = arguments.next();
        } else if let Some(value) = argument.strip_prefix("--color=") {
            choice = Some(value.to_owned());
        }
    }
    choice.and_then(|choice| choice.parse().ok()).unwrap_or(ColorChoice::Auto)
}

/// Returns the path of the user's own settings file: `clerk-lake/config.toml` in `XDG_CONFIG_HOME` or `~/.config`.
fn user_file() -> Option<PathBuf> {
    let directory = |name| config::environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || directory("HOME").map(|home| home.join(".config"));
    Some(directory("XDG_CONFIG_HOME").or_else(home)?.join("clerk-lake").join("config.toml"))
}

/// The settings of a command from all files.
struct Settings {
    files: Vec<SettingsFile>,
    /// Whether the last file was found in the working directory.
    has_found_file: bool,
    /// For the id of an argument, the setting and the index of its file.
    of_args: BTreeMap<String, (FileSetting, usize)>,
}

impl Settings {
    /// Collects the settings of the command called `name`, except those that a `given` argument overrides or excludes.
    fn collect(root: &Command, name: &str, given: &[String], file: Option<&Path>) -> Result<Self> {
        let own = user_file().map(|own| SettingsFile::read(&own, false, root)).transpose()?.flatten();
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let chosen = SettingsFile::read(path, file.is_some(), root)?;
        let has_found_file = file.is_none() && chosen.is_some();
        let files: Vec<_> = own.into_iter().chain(chosen).collect();
        let mut of_args = BTreeMap::new();
        let Some(command) = root.find_subcommand(name) else { return Ok(Self { files, has_found_file, of_args }) };
        for (index, file) in files.iter().enumerate() {
            let is_found = has_found_file && index + 1 == files.len();
            for setting in file.settings.iter().filter(|it| it.command.as_deref().is_none_or(|it| it == name)) {
                let Some(arg) = setting_arg(root, command, setting) else { continue };
                let id = arg.get_id().as_str();
                if given.iter().any(|given| given == id || excludes(root, command, arg, given)) {
                    continue;
                }
                if is_found && id == "api_url" {
                    return Err(untrusted_api_url());
                }
                of_args.insert(id.to_owned(), (setting.clone(), index));
            }
        }
        Ok(Self { files, has_found_file, of_args })
    }

    /// Returns `root` with the settings as the defaults of the flags of the command called `name`.
    fn as_defaults(&self, root: Command, name: &str) -> Command {
        self.of_args.iter().fold(root, |root, (id, (setting, _))| {
            let default = |arg: Arg| arg.default_values(setting.values.clone());
            if root.get_arguments().any(|arg| arg.get_id() == id.as_str()) {
                root.mut_arg(id, default)
            } else {
                root.mut_subcommand(name, |command| command.mut_arg(id, default))
            }
        })
    }

    /// Returns a line that names the settings from the file of the working directory; `None` if there are none.
    fn used_from_working_directory(&self) -> Option<String> {
        let is_found = |index: usize| self.has_found_file && index + 1 == self.files.len();
        let used = self.of_args.values().filter(|(_, index)| is_found(*index));
        let used: Vec<_> = used.map(|(it, _)| format!("{}: {}", it.name, it.values.join(", "))).collect();
        (!used.is_empty()).then(|| format!("{}, from {DEFAULT_FILE}", used.join("; ")))
    }

    /// Converts an error of clap about a value from a file to an error that says where in the file it is.
    fn explain(&self, root: &Command, name: &str, usage: &clap::Error) -> Error {
        let text = usage.to_string();
        let why = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let Some(ContextValue::String(shown)) = usage.get(ContextKind::InvalidArg) else { return Error::settings(why) };
        let long = shown.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
        let is_meant = |id: &str| {
            let command = root.find_subcommand(name).unwrap_or(root);
            let mut args = command.get_arguments().chain(root.get_arguments());
            args.any(|arg| arg.get_id() == id && arg.get_long() == Some(long))
        };
        let found = self.of_args.iter().find(|(id, _)| is_meant(id)).map(|(_, found)| found);
        let Some((setting, file)) = found else { return Error::settings(why) };
        // A key that is in the wrong setting must not be printed.
        let is_secret = setting.values.iter().any(|value| value.contains("sk_"));
        let why = if is_secret { format!("invalid value for '--{long}'") } else { why };
        let error = self.files[*file].error_at(setting.value_at, &why);
        match (usage.get(ContextKind::SuggestedValue), usage.get(ContextKind::ValidValue)) {
            (Some(ContextValue::String(meant)), _) => error.with_hint(format!("did you mean {meant}?")),
            (_, Some(ContextValue::Strings(valid))) => {
                error.with_hint(format!("the possible values are {}", valid.join(", ")))
            }
            _ => error.with_hint(format!("clerk-lake {name} --help describes --{long}")),
        }
    }
}

/// Returns whether `arg` cannot be used together with the argument whose id is `given`.
fn excludes(root: &Command, command: &Command, arg: &Arg, given: &str) -> bool {
    let owner = if command.get_arguments().any(|own| own.get_id() == arg.get_id()) { command } else { root };
    let Some(given) = owner.get_arguments().find(|own| own.get_id() == given) else { return false };
    let conflicts = |left: &Arg, right: &Arg| {
        owner.get_arg_conflicts_with(left).iter().any(|conflict| conflict.get_id() == right.get_id())
    };
    conflicts(arg, given) || conflicts(given, arg)
}

/// `api_url` is refused from the settings file of the working directory: that file may come from someone else, who must
/// not be able to redirect the secret key.
fn untrusted_api_url() -> Error {
    let own = user_file().map_or_else(|| "your own settings file".to_owned(), |path| path.display().to_string());
    Error::settings(format!(
        "api_url is not accepted from {DEFAULT_FILE} in the working directory, because it decides where the secret key \
         is sent"
    ))
    .with_hint(format!(
        "use --api-url, set CLERK_LAKE_API_URL, move the setting to {own}, or name the file explicitly: --config \
         {DEFAULT_FILE}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_help(name: &str, help: &str) {
        let first = help.lines().next().unwrap_or_default();
        assert!((5..=70).contains(&first.chars().count()), "{name}: {first}");
        let verb = first.split(' ').next().unwrap_or_default();
        assert!(verb.starts_with(char::is_uppercase), "{name}: {first}");
        assert!(!verb.ends_with('s'), "{name} does not begin with an imperative: {first}");
    }

    #[test]
    fn every_help_text_is_short_and_begins_with_an_imperative() {
        let root = Cli::command();
        check_help("clerk-lake", &root.get_about().map(ToString::to_string).unwrap_or_default());
        for command in root.get_subcommands() {
            check_help(command.get_name(), &command.get_about().map(ToString::to_string).unwrap_or_default());
            for arg in command.get_arguments().chain(root.get_arguments()) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                check_help(&format!("{} {}", command.get_name(), arg.get_id()), &help);
            }
        }
    }

    #[test]
    fn words_for_the_shell_are_quoted_if_needed() {
        for (text, word) in [
            ("./lake", "./lake"),
            ("s3://bucket/x", "s3://bucket/x"),
            ("my lake", "'my lake'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}

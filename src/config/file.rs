//! The settings file. It knows no setting of its own: its keys are the long names of the command line's options, its
//! values are what could stand behind them, and they reach clap as the defaults of these options. So whoever adds an
//! option has added a key, and whatever clap refuses on a command line it refuses here.

use std::{
    collections::BTreeMap,
    error::Error,
    ffi::{OsStr, OsString},
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue},
};
use toml_edit::{Document, Item, Value};

use super::{ConfigError, database::OLDER};

/// Where a file is looked for that nobody has named.
const HERE: &str = "taskwire.toml";
/// All settings with their comments are a tenth of this.
const FILE_BYTES: u64 = 1 << 20;
/// Settings that say the same thing in different words: the weightier source's word replaces the file's.
const ALTERNATIVES: [&[&str]; 2] =
    [&["database-url", "database-url-file", "embedded"], &["jwt-secret", "jwt-secret-file", "jwks-file", "jwks-url"]];

/// What a settings file says.
#[derive(Debug, Clone, Default)]
pub struct File {
    path: Option<PathBuf>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// As they would stand on a command line.
    values: Vec<String>,
    /// The variable of the same setting: a subcommand's own option may have the same name.
    variable: OsString,
    /// `taskwire.toml:3:1`.
    place: String,
}

/// The options that are settings of a server, and so keys of the file: those that have a variable, but the file's name.
pub fn settings(command: &Command) -> impl Iterator<Item = (&str, &OsStr, &Arg)> {
    command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_long()?, arg.get_env()?, arg)))
        .filter(|(key, _, _)| *key != "config")
}

impl File {
    /// Reads the file that was named, or `taskwire.toml` where there is one. `command` has the settings. All that is wrong
    /// is told at once.
    pub fn read(named: Option<&Path>, command: &Command) -> Result<Self, Vec<ConfigError>> {
        let path = named.unwrap_or(Path::new(HERE));
        match text_of(path) {
            Ok(text) => Self::parse(path, &text, command),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(vec![ConfigError::new("--config", format!("{}: {error}", path.display()))]),
        }
    }

    /// Reads a file's text; `path` is for messages.
    pub fn parse(path: &Path, text: &str, command: &Command) -> Result<Self, Vec<ConfigError>> {
        let place = |at: usize| place(path, text, at);
        let document = Document::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            vec![ConfigError::new(place(at), error.message().replace('\n', ", "))]
        })?;
        let (mut entries, mut errors) = (BTreeMap::new(), Vec::new());
        for (key, item) in document.as_table() {
            let span = document.as_table().key(key).and_then(toml_edit::Key::span).or(item.span());
            let place = place(span.map_or(0, |span| span.start));
            match entry(key, item, command, place.clone()) {
                Ok(entry) => _ = entries.insert(key.to_owned(), entry),
                Err(problem) => errors.push(ConfigError::new(format!("{place}: {key}"), problem)),
            }
        }
        if errors.is_empty() { Ok(Self { path: Some(path.to_owned()), entries }) } else { Err(errors) }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Forgets what something weightier says: an option or variable of the same setting (`is_given` by its key), of one
    /// that says the same in other words, or an older variable.
    pub fn give_way(&mut self, is_given: impl Fn(&str) -> bool, variable: impl Fn(&str) -> Option<String>) {
        let is_set = |name: &&str| variable(name).is_some_and(|value| !value.trim().is_empty());
        self.entries.retain(|key, _| {
            let mut same = ALTERNATIVES.into_iter().filter(|group| group.contains(&key.as_str())).flatten();
            let is_older = OLDER.iter().any(|(name, variables)| name == key && variables.iter().any(is_set));
            !is_given(key) && !same.any(|key| is_given(key)) && !is_older
        });
    }

    /// The same command line, its defaults replaced by what stands in the file.
    #[must_use]
    pub fn feed(&self, command: Command) -> Command {
        command
            .mut_args(|arg| {
                let entry = arg.get_long().and_then(|key| self.entries.get(key));
                match entry.filter(|entry| arg.get_env() == Some(entry.variable.as_os_str())) {
                    Some(entry) => arg.default_values(entry.values.clone()),
                    None => arg,
                }
            })
            .mut_subcommands(|command| self.feed(command))
    }

    /// Where a setting stands in the file, as in `taskwire.toml:3:1`.
    #[must_use]
    pub fn place(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.place.as_str())
    }

    /// The same error, with the place of the setting that it names, if that is in the file.
    #[must_use]
    pub fn locate(&self, error: ConfigError) -> ConfigError {
        let mut keys = error.setting.split(", ").filter_map(|setting| setting.strip_prefix("--"));
        match keys.find_map(|key| Some((key, self.place(key)?))) {
            Some((key, place)) => ConfigError::new(format!("{place}: {key}"), error.problem),
            None => error,
        }
    }
}

/// The nearest of these names to one that is none of them.
#[must_use]
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(name, candidate);
    names.min_by_key(distance)
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = fs::File::open(path)?.take(FILE_BYTES + 1).read_to_string(&mut text)? as u64;
    if length > FILE_BYTES { Err(io::Error::other("is larger than 1MiB")) } else { Ok(text) }
}

/// File, line and column, as editors understand it.
fn place(path: &Path, text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{line}:{column}", path.display())
}

fn entry(key: &str, item: &Item, command: &Command, place: String) -> Result<Entry, String> {
    if let Some(table) = item.as_table_like() {
        let example = table.iter().next().map_or("max-depth", |(inner, _)| inner);
        return Err(format!("is a table, but the settings stand in none: write {} = …", right(example, command)));
    }
    let Some((_, variable, arg)) = settings(command).find(|(name, _, _)| *name == key) else {
        return Err(format!("there is no such setting; the nearest is {}", right(key, command)));
    };
    let values = values(item, arg)?;
    takes(arg, &values)?;
    Ok(Entry { values, variable: variable.to_owned(), place })
}

/// The right key for a wrong one, which may be written as a variable is.
fn right<'a>(key: &str, command: &'a Command) -> &'a str {
    let key = key.to_ascii_lowercase().replace('_', "-");
    let key = key.strip_prefix("taskwire-").unwrap_or(&key);
    nearest(key, settings(command).map(|(name, _, _)| name)).unwrap_or_default()
}

fn values(item: &Item, arg: &Arg) -> Result<Vec<String>, String> {
    match (item.as_value(), arg.get_action()) {
        (Some(Value::Boolean(value)), ArgAction::SetTrue) => Ok(vec![value.value().to_string()]),
        (_, ArgAction::SetTrue) => Err("must be true or false, without quotes".into()),
        (Some(Value::Array(values)), ArgAction::Append) => values
            .iter()
            .map(|value| text(value).ok_or_else(|| "must be a list of texts, as in [\"one\", \"two\"]".to_owned()))
            .collect(),
        (Some(Value::Array(_)), _) => Err("takes one value, not a list".into()),
        (Some(value), _) => text(value).map(|text| vec![text]).ok_or_else(|| "must be a text or a number".into()),
        (None, _) => Err("has no value".into()),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(value) => Some(value.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}

/// Whether an option would take these values; otherwise why not.
pub fn takes(arg: &Arg, values: &[String]) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let options = values.iter().map(|value| format!("--{}={value}", arg.get_long().unwrap_or_default()));
    let command = Command::new("taskwire").no_binary_name(true).disable_help_flag(true).arg(arg.clone());
    command.try_get_matches_from(options).map(|_| ()).map_err(|error| match error.source() {
        Some(source) => source.to_string(),
        None => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) => format!("must be one of: {}", valid.join(", ")),
            _ => error.kind().to_string(),
        },
    })
}

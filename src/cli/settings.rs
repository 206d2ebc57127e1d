//! Where settings come from: the command line, the environment, the settings file; and `taskwire config check`, which
//! tells. Which settings there are is asked of clap, so there is no list of them here to keep.

use std::{
    env,
    fmt::Write,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

use crate::config::{self, Config, ConfigError, DatabaseSource, File, Flags, OLDER, Origin};
use crate::doctor::{self, Report};

use super::example::{Default, Described};

/// What was given to the subcommand that runs.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    matches: &'a ArgMatches,
    file: &'a File,
}

impl<'a> Given<'a> {
    pub(super) fn new(matches: &'a ArgMatches, file: &'a File) -> Self {
        Self { matches: innermost(matches), file }
    }

    pub(super) fn file(&self) -> &'a File {
        self.file
    }

    /// Says in the log which settings file was read.
    pub(super) fn say_file(&self) {
        if let Some(path) = self.file.path() {
            tracing::info!(file = %path.display(), "settings read");
        }
    }

    /// Writes into the flags where those came from that contradict each other.
    pub(super) fn mark(&self, flags: &mut Flags) {
        flags.database.database_url_origin = self.origin("database_url");
        flags.database.embedded_origin = self.origin("embedded");
    }

    /// The files that hold secrets: those of the settings, and the settings file itself where it has some in it.
    pub(super) fn secrets(&self, flags: &Flags) -> Vec<PathBuf> {
        let files = [
            &flags.auth.jwt_secret_file,
            &flags.database.database_url_file,
            &flags.database.database_password_file,
            &flags.listen.tls_key,
        ];
        let older =
            ["DATABASE_URL_FILE", "DB_PASSWORD_FILE"].map(|name| env::var_os(name).filter(|path| !path.is_empty()));
        let urls = [("database-url", &flags.database.database_url), ("read-url", &flags.nodes.read_url)];
        let listen_urls = flags.nodes.listen_urls.iter().map(|url| ("listen-url", url));
        let mut urls = urls.into_iter().filter_map(|(key, url)| Some((key, url.as_ref()?))).chain(listen_urls);
        let is_in_file = |key: &str| self.file.place(key).is_some();
        let is_secret = is_in_file("jwt-secret") || urls.any(|(key, url)| is_in_file(key) && has_password(url));
        let file = self.file.path().filter(|_| is_secret).map(Path::to_path_buf);
        let older = older.into_iter().flatten().map(PathBuf::from);
        files.into_iter().flatten().cloned().chain(older).chain(file).collect()
    }

    fn origin(&self, id: &str) -> Origin {
        match source(self.matches, id) {
            Some(ValueSource::CommandLine) => Origin::CommandLine,
            Some(ValueSource::EnvVariable) => Origin::Environment,
            _ => Origin::File,
        }
    }
}

/// Reads the settings file, without what the command line or a variable says. What needs no setting needs no file.
pub(super) fn file(command: &Command, matches: &ArgMatches) -> Result<File, Vec<ConfigError>> {
    let (mut running, mut chosen) = (command, matches);
    while let Some((name, inner)) = chosen.subcommand() {
        (running, chosen) = (running.find_subcommand(name).unwrap_or(running), inner);
    }
    let has = |variable| running.get_arguments().any(|arg| arg.get_env() == Some(variable));
    if !config::settings(command).any(|(_, variable, _)| has(variable)) {
        return Ok(File::default());
    }
    let named = chosen.get_one::<PathBuf>("config");
    let mut file = File::read(named.map(PathBuf::as_path), command)?;
    // A switch that is off says nothing about what would be said otherwise.
    let is_given = |arg: &Arg| {
        let id = arg.get_id().as_str();
        matches!(source(chosen, id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
            && (!matches!(arg.get_action(), ArgAction::SetTrue) || chosen.get_flag(id))
    };
    let given = |key: &str| config::settings(command).any(|(name, _, arg)| name == key && is_given(arg));
    file.give_way(given, |name| env::var(name).ok());
    Ok(file)
}

/// Ends with what is wrong with the file: `config check` tells everything, whatever else was to run the first.
pub(super) fn refuse(errors: &[ConfigError], matches: &ArgMatches) -> ExitCode {
    if matches.subcommand_name() == Some("config") {
        for error in errors {
            super::fail(&error.to_string());
        }
        return ExitCode::from(2);
    }
    if let Some(doctor) = matches.subcommand_matches("doctor") {
        return tell(&doctor::unusable(errors), doctor.get_flag("json"));
    }
    match errors {
        [] => ExitCode::from(2),
        [error] => super::fail(&error.to_string()),
        [error, rest @ ..] => super::fail(&format!("{error} (and {} more: taskwire config check)", rest.len())),
    }
}

/// Prints what the doctor found; exit code 1 where something should be done.
pub(super) fn tell(report: &Report, as_json: bool) -> ExitCode {
    let text = if as_json { format!("{}\n", report.json()) } else { report.to_string() };
    // Where nobody reads standard output, the exit code still tells.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(report.code())
}

/// Prints every setting, its value and where that comes from; then what is wrong with them.
pub(super) fn check(mut flags: Flags, command: &Command, given: Given) -> ExitCode {
    given.mark(&mut flags);
    let config = Config::gather(flags, |name| env::var(name).ok());
    let database = config.as_ref().ok().map(|config| &config.database.url);
    let rows: Vec<[String; 3]> = config::settings(command)
        .map(|(key, variable, arg)| {
            let (value, from) = row(key, &variable.to_string_lossy(), arg, database, given);
            [key.to_owned(), value, from]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default().min(60);
    let (first, second) = (width(0), width(1));
    let mut text = String::new();
    for [key, value, from] in &rows {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{key:first$}  {value:second$}  {from}");
    }
    // Where nobody reads standard output, the exit code still tells.
    let _ = io::stdout().write_all(text.as_bytes());
    for note in unknown_variables(command) {
        let _ = writeln!(io::stderr(), "taskwire: note: {note}");
    }
    let problems = config.map_or_else(|error| vec![error], |config| config.problems());
    for problem in &problems {
        super::fail(&given.file.locate(problem.clone()).to_string());
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// A setting's value, and where it comes from.
fn row(key: &str, variable: &str, arg: &Arg, database: Option<&DatabaseSource>, given: Given) -> (String, String) {
    // It may be put together from several variables and files.
    if let ("database-url", Some(DatabaseSource::Url { url, setting })) = (key, database) {
        let from = match given.file.place(key) {
            Some(place) => place.to_owned(),
            None => setting.clone(),
        };
        return (hidden(key, url), from);
    }
    let id = arg.get_id().as_str();
    let from = match (source(given.matches, id), given.file.place(key)) {
        (Some(ValueSource::CommandLine), _) => format!("--{key}"),
        (Some(ValueSource::EnvVariable), _) => variable.to_owned(),
        (_, Some(place)) => place.to_owned(),
        _ => {
            let (Default::Value(default) | Default::Words(default)) = Described::new(arg).default;
            return older(key).unwrap_or((default, "default".into()));
        }
    };
    let value = if matches!(arg.get_action(), ArgAction::SetTrue) {
        given.matches.get_flag(id).to_string()
    } else {
        let values = given.matches.get_raw(id).into_iter().flatten().map(|value| value.to_string_lossy());
        let is_secret = arg.is_hide_env_values_set();
        values
            .map(|value| if is_secret { hidden(key, &value) } else { value.into_owned() })
            .collect::<Vec<_>>()
            .join(",")
    };
    (value, from)
}

/// What an older variable says about the size of the pool or its patience.
fn older(key: &str) -> Option<(String, String)> {
    let (_, names) = OLDER.iter().find(|(name, _)| *name == key && !key.starts_with("database-url"))?;
    names.iter().find_map(|name| Some((env::var(name).ok().filter(|value| !value.trim().is_empty())?, (*name).into())))
}

/// A URL without password and parameters; nothing at all of another secret, nor of a URL of which it is not clear where its
/// password ends.
fn hidden(key: &str, text: &str) -> String {
    let url = text.split_once("://").filter(|_| key.ends_with("-url"));
    let Some((scheme, rest)) = url else { return "(hidden)".to_owned() };
    if rest.split_once('?').is_some_and(|(_, behind)| behind.contains('@')) {
        return format!("{scheme}://…");
    }
    let (rest, parameters) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?…"));
    let rest = match rest.rsplit_once('@') {
        Some((user, place)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:…@{place}"),
            None => format!("{user}@{place}"),
        },
        None => rest.to_owned(),
    };
    format!("{scheme}://{rest}{parameters}")
}

fn has_password(url: &str) -> bool {
    let user = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map_or("", |(user, _)| user);
    user.contains(':') || url.contains("password=")
}

/// Variables that look like ours and are not. Kubernetes makes such ones for a service of our name, so they are no error.
fn unknown_variables(command: &Command) -> Vec<String> {
    fn known(command: &Command, names: &mut Vec<String>) {
        names.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned())));
        command.get_subcommands().for_each(|inner| known(inner, names));
    }
    let mut names = Vec::new();
    known(command, &mut names);
    let given = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> =
        given.filter(|name| name.starts_with("TASKWIRE_") && !names.contains(name)).collect();
    unknown.sort();
    let nearest = |name: &str| config::nearest(name, names.iter().map(String::as_str)).unwrap_or_default().to_owned();
    unknown.iter().map(|name| format!("{name} is no setting; the nearest is {}", nearest(name))).collect()
}

fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    // Not every subcommand has every option.
    matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id))
}

fn innermost(mut matches: &ArgMatches) -> &ArgMatches {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    matches
}

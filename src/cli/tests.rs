//! The command line, and what is told of it: help, README.md, `taskwire.example.toml`.

use std::{collections::BTreeSet, env, fs, path::Path};

use clap::{CommandFactory, FromArgMatches};

use super::{
    Cli,
    example::{Default, Described, example},
};
use crate::config::{self, Config, ConfigError, File, Flags};

const FILE: &str = "taskwire.toml";

#[test]
fn the_readme_names_every_setting() {
    let readme = include_str!("../../README.md");
    let command = Cli::command();
    for argument in command.get_arguments().filter(|argument| argument.get_env().is_some()) {
        let (flag, variable) = (argument.get_long().unwrap(), argument.get_env().unwrap().to_str().unwrap());
        let row = format!("| `--{flag}` | `{variable}` |");
        assert!(readme.contains(&row), "README.md, Configuration: no row begins with {row}");
    }
}

#[test]
fn the_command_line_is_sound_and_every_option_has_help_and_a_variable() {
    let command = Cli::command();
    command.clone().debug_assert();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            if ["help", "version"].contains(&id) {
                continue;
            }
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() >= 12, "{id}: no help");
            let variable = argument.get_env().unwrap_or_else(|| panic!("{id}: no variable"));
            assert!(variable.to_str().unwrap().starts_with("TASKWIRE_"), "{id}");
        }
    }
}

/// The settings of a file's text, without anything from the environment.
fn load(text: &str) -> Result<Config, Vec<ConfigError>> {
    let command = Cli::command();
    let file = File::parse(Path::new(FILE), text, &command)?;
    let matches = file.feed(command).try_get_matches_from(["taskwire"]).unwrap();
    let flags = Cli::from_arg_matches(&matches).unwrap().serve.flags;
    Config::load(flags, |_| None).map_err(|error| vec![file.locate(error)])
}

/// What is wrong with a file's text, line by line.
fn wrong(text: &str) -> Vec<String> {
    load(text).map_or_else(|errors| errors.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// The example with its settings made to count, all of them or those which say what counts anyhow.
fn uncommented(is_wanted: impl Fn(&str) -> bool) -> String {
    let lines = example(&Cli::command());
    let settings = lines.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with([' ', '#']));
    settings.filter(|line| line.split_once(" = ").is_some_and(|(key, _)| is_wanted(key))).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("taskwire.example.toml");
    let wanted = example(&Cli::command());
    if env::var_os("UPDATE_EXAMPLE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let missing = wanted.lines().find(|line| !found.lines().any(|found| found == *line)).unwrap_or("order");
    assert!(found == wanted, "taskwire.example.toml ({missing}): UPDATE_EXAMPLE=1 cargo test --lib example");
}

#[test]
fn the_example_has_every_setting_with_a_value_that_counts() {
    let command = Cli::command();
    let text = uncommented(|_| true);
    let keys: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    let settings: BTreeSet<&str> = config::settings(&command).map(|(key, _, _)| key).collect();
    assert_eq!(keys, settings);
    assert_eq!(keys.len(), text.lines().count(), "a setting stands there twice");
    let file = File::parse(Path::new(FILE), &text, &command).map_err(|errors| errors[0].to_string());
    assert!(file.is_ok(), "{file:?}: give the option's help an example, as in \"as in 10.0.0.0/8\"");
}

#[test]
fn the_examples_defaults_are_the_defaults() {
    let command = Cli::command();
    let is_value = |key: &str| {
        let (_, _, arg) = config::settings(&command).find(|(name, _, _)| *name == key).unwrap();
        matches!(Described::new(arg).default, Default::Value(_))
    };
    let text = uncommented(is_value);
    assert!(text.lines().count() > 50, "{text}");
    let told = load(&text).unwrap();
    let real = Config::load(Flags::default(), |_| None).unwrap();
    let (told, real) = (format!("{told:#?}"), format!("{real:#?}"));
    let other: Vec<_> = told.lines().zip(real.lines()).filter(|(told, real)| told != real).collect();
    assert!(told == real, "a default that the help tells is not the section's: {other:?}");
}

#[test]
fn a_file_is_read_as_a_command_line_is() {
    let config = load(
        "listen = \"127.0.0.1:9000\"\nmax-depth = 7\nsettle = \"1.5min\"\nusers-may-save = true\nintrospection = 'off'\n\
         public-host = [\"a.example.com\", \"b.example.com\"]\ntrusted-proxy = \"10.0.0.0/8,fd00::/8\"\n",
    )
    .unwrap();
    assert_eq!(config.http.listen.port(), 9000);
    assert_eq!(config.graphql.max_depth, 7);
    assert_eq!(config.task.settle.as_secs(), 90);
    assert!(config.auth.users_may_save && !config.graphql.introspection);
    assert_eq!(config.http.public_hosts, ["a.example.com", "b.example.com"]);
    assert_eq!(config.listen.trusted_proxies.len(), 2);
    assert_eq!(load("").unwrap().http.listen.port(), 8000);
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_the_nearest_right_key() {
    for (text, found) in [
        ("\n\nmax-dept = 3", "taskwire.toml:3:1: max-dept: there is no such setting; the nearest is max-depth"),
        (
            "  TASKWIRE_MAX_DEPTH = 3",
            "taskwire.toml:1:3: TASKWIRE_MAX_DEPTH: there is no such setting; the nearest is max-depth",
        ),
        ("databse_url = 'x'", "taskwire.toml:1:1: databse_url: there is no such setting; the nearest is database-url"),
        ("config = 'x'", "taskwire.toml:1:1: config: there is no such setting; the nearest is"),
        (
            "[graphql]\nmax_depth = 3",
            "taskwire.toml:1:2: graphql: is a table, but the settings stand in none: write max-depth =",
        ),
        ("settle = '5 parsecs'", "taskwire.toml:1:1: settle: a duration is a number and its unit"),
        ("max-depth = 'deep'", "taskwire.toml:1:1: max-depth: invalid digit"),
        ("max-depth = [1, 2]", "taskwire.toml:1:1: max-depth: takes one value, not a list"),
        ("max-depth = 1979-05-27", "taskwire.toml:1:1: max-depth: must be a text or a number"),
        ("introspection = 'maybe'", "taskwire.toml:1:1: introspection: must be one of: on, off"),
        ("insecure = 'no'", "taskwire.toml:1:1: insecure: must be true or false"),
        ("public-host = [1979-05-27]", "taskwire.toml:1:1: public-host: must be a list of texts"),
        // What clap takes and the section refuses.
        ("\nmax-depth = 31", "taskwire.toml:2:1: max-depth: must be 1 to 30"),
        ("body-limit = '1KiB'", "--user-body-limit: must be at most"),
        ("database-url = 'postgres://h/a'\nembedded = true", "taskwire.toml:2:1: embedded: contradicts"),
        // What is no TOML.
        ("listen = \"127.0.0.1:9000\nmax-depth = 3", "taskwire.toml:1:"),
        ("max-depth = 3\nmax-depth = 4", "taskwire.toml:2:1: duplicate key"),
    ] {
        let errors = wrong(text);
        assert!(errors.len() == 1 && errors[0].starts_with(found), "{text}: {errors:?}");
    }
    assert_eq!(wrong("max-dept = 3\nlisten = 5\nmax-tokens = 7\nsettle = false").len(), 3);
}

#[test]
fn a_file_gives_way() {
    let text = "database-url = 'postgres://file/a'\njwt-secret-file = '/s'\nmax-connections = 9\nembedded = false\nmax-depth = 4";
    let left = |given: &[&str], variables: &[&str]| {
        let mut file = File::parse(Path::new(FILE), text, &Cli::command()).unwrap();
        file.give_way(|key| given.contains(&key), |name| variables.contains(&name).then(|| "something".to_owned()));
        let keys = ["database-url", "jwt-secret-file", "max-connections", "embedded", "max-depth"];
        keys.into_iter().filter(|key| file.place(key).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(left(&[], &[]).len(), 5);
    assert_eq!(left(&["max-depth"], &[]), ["database-url", "jwt-secret-file", "max-connections", "embedded"]);
    assert_eq!(left(&["embedded"], &[]), ["jwt-secret-file", "max-connections", "max-depth"]);
    assert_eq!(left(&["jwks-url"], &[]), ["database-url", "max-connections", "embedded", "max-depth"]);
    assert_eq!(left(&[], &["DB_MAX_SIZE"]), ["database-url", "jwt-secret-file", "embedded", "max-depth"]);
    // To be embedded "whatever DATABASE_URL says" stays.
    assert_eq!(left(&[], &["DATABASE_URL"]), ["jwt-secret-file", "max-connections", "embedded", "max-depth"]);
}

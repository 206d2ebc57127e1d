//! The settings file to begin with, `taskwire.example.toml`: written out of the options' help, so that each setting is
//! described in one place. A test renews it: `UPDATE_EXAMPLE=1 cargo test --lib example`.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use crate::config;

const WIDTH: usize = 118;
const HEAD: &str = "\
# Settings of Taskwire, as they are where nobody says anything. Take away the # before one to change it.
#
# Read from the file that --config or TASKWIRE_CONFIG names, else from taskwire.toml in the working folder if there is one.
# An option on the command line weighs more, then a variable (max-depth: TASKWIRE_MAX_DEPTH), DATABASE_URL and DB_… among
# them, then this file. A key is its option's name. Relative file names begin at the working folder. Durations have a unit
# (ms, s, min, h, d), sizes too (KiB, MiB, GiB).
#
# `taskwire config check` tells what counts, where it comes from, and what is wrong with it.
";

/// What stands in the help of a setting.
pub(super) struct Described {
    /// What it is.
    pub(super) meaning: String,
    /// What it is where nobody sets it: a value, or words.
    pub(super) default: Default,
}

/// What a setting is where nobody sets it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Default {
    /// Just as if this had been given.
    Value(String),
    /// Something that no value says.
    Words(String),
}

impl Described {
    pub(super) fn new(arg: &Arg) -> Self {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (meaning, told) = match help.rsplit_once(" [default: ") {
            Some((meaning, default)) => (meaning.to_owned(), Some(default.trim_end_matches(']').to_owned())),
            None => (help, None),
        };
        let by_clap =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
        let default = match (told, arg.get_action()) {
            (_, ArgAction::SetTrue) => Default::Value("false".into()),
            (Some(default), _) => {
                let is_words = default.starts_with("no") || default.contains(';');
                let is_value = !is_words && config::takes(arg, std::slice::from_ref(&default)).is_ok();
                if is_value { Default::Value(default) } else { Default::Words(default) }
            }
            (None, _) if by_clap.is_empty() => Default::Words("none".into()),
            (None, _) => Default::Value(by_clap),
        };
        Self { meaning, default }
    }
}

/// The whole file.
pub(super) fn example(command: &Command) -> String {
    let mut headings: Vec<&str> = Vec::new();
    for (_, _, arg) in config::settings(command) {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let mut text = HEAD.to_owned();
    for wanted in headings {
        // Writing to a String does not fail.
        let _ = write!(text, "\n\n# ---- {wanted} ----\n");
        for (key, _, arg) in config::settings(command).filter(|(_, _, arg)| heading(arg) == wanted) {
            text.push('\n');
            setting(key, arg, &mut text);
        }
    }
    text
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or("Other")
}

fn setting(key: &str, arg: &Arg, text: &mut String) {
    let Described { meaning, default } = Described::new(arg);
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    // How an option is repeated is no matter of a file.
    prose(&meaning.replace("; can be repeated or comma separated", ""), text);
    let value = match default {
        Default::Value(value) => value,
        Default::Words(words) => {
            prose(&format!("Default: {words}. For example:"), text);
            sample(key, &meaning, arg)
        }
    };
    let value = match value.as_str() {
        "true" | "false" => value,
        number if number.parse::<u64>().is_ok() => value,
        _ if is_list => format!("[{value:?}]"),
        _ => format!("{value:?}"),
    };
    let _ = writeln!(text, "#{key} = {value}");
}

/// A value as somebody might write it: the help's own example, or what its kind suggests.
fn sample(key: &str, meaning: &str, arg: &Arg) -> String {
    if let Some((_, example)) = meaning.split_once("as in ") {
        let end = example.find([';', ',', ' ']).unwrap_or(example.len());
        return example[..end].trim_matches(['<', '>', '`']).to_owned();
    }
    let kind = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match kind {
        "FILE" => format!("/etc/taskwire/{}", key.trim_end_matches("-file")),
        "ADDRESS:PORT" => "127.0.0.1:9000".into(),
        "FOLDER" => "/var/lib/taskwire".into(),
        "DURATION" => "60s".into(),
        "SIZE" => "1MiB".into(),
        "NUMBER" => "100".into(),
        _ => key.to_owned(),
    }
}

/// A sentence as a comment, in lines of bounded width.
fn prose(sentence: &str, text: &mut String) {
    let mut line = String::from("#");
    for word in sentence.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push_str("\n#");
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push_str(if sentence.ends_with([':', '.']) { "\n" } else { ".\n" });
}

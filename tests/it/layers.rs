//! Who may know whom: the import table of docs/ARCHITECTURE.md, and the length of files. A module that is not in the
//! table is a finding, too: add it to [`RULES`] and to the document.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file that is longer wants to be two.
const LINES: usize = 500;
const COUNTED: [&str; 5] = ["rs", "sql", "ts", "tsx", "py"];
/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 9] =
    ["target", "node_modules", ".git", "data", "dist", "gql", ".venv", "__pycache__", "test-results"];

struct Rule {
    /// A module of `src/`, or a crate of the workspace.
    module: &'static str,
    /// Our modules and crates that it may name. `None`: all of them.
    may: Option<&'static [&'static str]>,
    /// Outside crates that it must not know.
    must_not: &'static [&'static str],
}

const fn rule(module: &'static str, may: Option<&'static [&'static str]>, must_not: &'static [&'static str]) -> Rule {
    Rule { module, may, must_not }
}

const GRAPHQL_AND_AXUM: &[&str] = &["async_graphql", "async_graphql_axum", "axum"];
const SQL: &[&str] = &["sea_orm", "sea_orm_migration", "sqlx"];
const ALL_OF_THEM: &[&str] = &["async_graphql", "async_graphql_axum", "axum", "sea_orm", "sea_orm_migration", "sqlx"];

const RULES: [Rule; 20] = [
    rule("config", Some(&[]), ALL_OF_THEM),
    rule("clock", Some(&[]), ALL_OF_THEM),
    rule("telemetry", Some(&[]), ALL_OF_THEM),
    rule("json", Some(&[]), ALL_OF_THEM),
    rule("entity", Some(&[]), GRAPHQL_AND_AXUM),
    rule("migration", Some(&[]), GRAPHQL_AND_AXUM),
    rule("db", Some(&["migration", "config"]), GRAPHQL_AND_AXUM),
    rule("store", Some(&["entity", "db"]), GRAPHQL_AND_AXUM),
    rule("feed", Some(&["entity", "store"]), GRAPHQL_AND_AXUM),
    rule("auth", Some(&[]), &["axum", "async_graphql_axum"]),
    rule("maintenance", Some(&["store", "db"]), GRAPHQL_AND_AXUM),
    rule("service", Some(&["store", "feed", "auth", "entity", "maintenance"]), GRAPHQL_AND_AXUM),
    rule("graphql", Some(&["service", "auth", "entity"]), SQL),
    rule("http", Some(&["graphql", "service", "auth"]), SQL),
    rule("demo", Some(&[]), SQL),
    rule("doctor", Some(&["db"]), GRAPHQL_AND_AXUM),
    rule("app", None, &[]),
    rule("cli", None, &[]),
    rule("main", None, &[]),
    rule("lib", None, &[]),
];

/// What every module of src/ may import, except each of them the others.
const EVERYBODYS: [&str; 4] = ["config", "clock", "telemetry", "json"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder with one of these endings, as paths from `root`.
fn files(root: &Path, below: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !SKIPPED.contains(&name) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| endings.contains(&ending.to_str().unwrap())) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// What is wrong with the imports of one file.
fn findings(path: &str, source: &str) -> Vec<String> {
    let Some((module, depth)) = place(path) else { return Vec::new() };
    let Some(rule) = RULES.iter().find(|rule| rule.module == module) else {
        return vec![format!("{path}: the module {module} is not in the table")];
    };
    let code = code_only(source);
    let tokens = tokens(&code);
    let known = named(&tokens, depth);
    let mut findings = Vec::new();
    for name in known {
        let is_ours = RULES.iter().any(|rule| rule.module == name);
        let is_everybodys = EVERYBODYS.contains(&name.as_str());
        let allowed = match rule.may {
            None => true,
            Some(_) if name == module || !is_ours => true,
            Some(_) if is_everybodys => !EVERYBODYS.contains(&module),
            Some(may) => may.contains(&name.as_str()),
        };
        if !allowed {
            findings.push(format!("{path}: {module} must not import {name}"));
        }
    }
    for outside in rule.must_not {
        if tokens.contains(outside) {
            findings.push(format!("{path}: {module} must not know {outside}"));
        }
    }
    findings
}

/// The module a file belongs to, and how many `super` lead from it to the crate.
fn place(path: &str) -> Option<(&str, usize)> {
    let parts: Vec<&str> = path.strip_suffix(".rs")?.split('/').collect();
    match parts.as_slice() {
        ["src", rest @ ..] => {
            let inner = rest.len() - usize::from(rest.last() == Some(&"mod"));
            Some((rest.first()?, inner))
        }
        [name @ ("entity" | "migration"), "src", ..] => Some((name, usize::MAX)),
        _ => None,
    }
}

/// Every module of ours that is named from the crate's root (`crate::…`, `taskwire::…`, enough `super::`), alone or in
/// a group, and every crate of ours.
fn named(tokens: &[&str], depth: usize) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        // `super::super::…` counts as a whole.
        let mut supers = 0;
        while tokens.get(at + 2 * supers) == Some(&"super") && tokens.get(at + 2 * supers + 1) == Some(&"::") {
            supers += 1;
        }
        let after = if supers > 0 {
            (supers >= depth).then_some(at + 2 * supers)
        } else {
            let is_root = ["crate", "taskwire"].contains(&tokens[at]) && tokens.get(at + 1) == Some(&"::");
            is_root.then_some(at + 2)
        };
        if let Some(after) = after {
            match tokens.get(after) {
                Some(&"{") => named.extend(heads_of_group(&tokens[after + 1..])),
                Some(name) => _ = named.insert((*name).to_owned()),
                None => {}
            }
        }
        let is_path = at == 0 || tokens[at - 1] != "::";
        if is_path && ["entity", "migration"].contains(&tokens[at]) && tokens.get(at + 1) == Some(&"::") {
            named.insert(tokens[at].to_owned());
        }
        at += 1 + 2 * supers.saturating_sub(1);
    }
    named
}

/// `a` and `b` of `a::{c, d}, b}`.
fn heads_of_group(tokens: &[&str]) -> Vec<String> {
    let mut heads = Vec::new();
    let mut level = 0;
    let mut is_head = true;
    for token in tokens {
        match *token {
            "{" => level += 1,
            "}" if level == 0 => break,
            "}" => level -= 1,
            "," if level == 0 => is_head = true,
            name if is_head => {
                heads.push(name.to_owned());
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

/// Words, `::`, and single signs.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The source without comments, strings and characters.
fn code_only(source: &str) -> String {
    let signs: Vec<char> = source.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    while at < signs.len() {
        let next = signs.get(at + 1).copied();
        match signs[at] {
            '/' if next == Some('/') => {
                while at < signs.len() && signs[at] != '\n' {
                    at += 1;
                }
            }
            '/' if next == Some('*') => {
                let mut level = 0;
                while at < signs.len() {
                    match (signs[at], signs.get(at + 1)) {
                        ('/', Some('*')) => level += 1,
                        ('*', Some('/')) => level -= 1,
                        _ => {
                            at += 1;
                            continue;
                        }
                    }
                    at += 2;
                    if level == 0 {
                        break;
                    }
                }
            }
            'r' if matches!(next, Some('"' | '#')) && !is_word(code.chars().last()) => {
                let hashes = signs[at + 1..].iter().take_while(|sign| **sign == '#').count();
                if signs.get(at + 1 + hashes) == Some(&'"') {
                    at += hashes + 2;
                    while at < signs.len() && !closes(&signs, at, hashes) {
                        at += 1;
                    }
                    at += hashes + 1;
                } else {
                    code.push('r');
                    at += 1;
                }
            }
            '"' => {
                at += 1;
                while at < signs.len() && signs[at] != '"' {
                    at += 1 + usize::from(signs[at] == '\\');
                }
                at += 1;
                code.push(' ');
            }
            // A character, not a lifetime.
            '\'' if next == Some('\\') => {
                at += 3;
                while at < signs.len() && signs[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            '\'' if signs.get(at + 2) == Some(&'\'') => at += 3,
            sign => {
                code.push(sign);
                at += 1;
            }
        }
    }
    code
}

fn is_word(sign: Option<char>) -> bool {
    sign.is_some_and(|sign| sign.is_alphanumeric() || sign == '_')
}

fn closes(signs: &[char], at: usize, hashes: usize) -> bool {
    signs[at] == '"' && signs[at + 1..].iter().take(hashes).filter(|sign| **sign == '#').count() == hashes
}

/// Files that are too long.
fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES).then(|| format!("{path}: {lines} lines, more than {LINES}"))
}

#[test]
fn nobody_imports_what_it_must_not_know() {
    let mut sources = files(&root(), "src", &["rs"]);
    sources.extend(files(&root(), "entity/src", &["rs"]));
    sources.extend(files(&root(), "migration/src", &["rs"]));
    assert!(sources.len() > 20, "where are the sources?");
    let findings: Vec<String> = sources.iter().flat_map(|(path, source)| findings(path, source)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn no_file_is_too_long() {
    let all = files(&root(), "", &COUNTED);
    assert!(all.iter().any(|(path, _)| path == "migration/sql/tables.sql"), "where is the SQL?");
    let findings: Vec<String> = all.iter().filter_map(|(path, text)| too_long(path, text)).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn planted_violations_are_found() {
    for (path, source, finding) in [
        ("src/graphql/query.rs", "use crate::store::tasks;", "graphql must not import store"),
        ("src/graphql/query.rs", "fn f() { crate::store::read() }", "graphql must not import store"),
        ("src/graphql/query.rs", "use crate::{service::{Service, store}, store::X};", "graphql must not import store"),
        ("src/graphql/query.rs", "use super::super::store::X;", "graphql must not import store"),
        ("src/graphql/mod.rs", "use super::{service, store};", "graphql must not import store"),
        ("src/graphql/a/b.rs", "use sea_orm::EntityTrait;", "graphql must not know sea_orm"),
        ("src/graphql/mod.rs", "pub use sqlx as database;", "graphql must not know sqlx"),
        ("src/service/mod.rs", "fn f(request: axum::extract::Request) {}", "service must not know axum"),
        ("src/service/mod.rs", "const A: char = '\"'; use axum; const B: char = '\"';", "service must not know axum"),
        ("src/service/watch.rs", "/* /* */ */ use async_graphql::Enum;", "service must not know async_graphql"),
        ("src/db/mod.rs", "use crate::store;", "db must not import store"),
        ("src/db/mod.rs", "use entity::task;", "db must not import entity"),
        ("src/config/mod.rs", "use crate::clock::now;", "config must not import clock"),
        ("src/http/mod.rs", "use crate::db::Database;", "http must not import db"),
        ("migration/src/lib.rs", "use entity::task;", "migration must not import entity"),
        ("src/sideline/mod.rs", "", "the module sideline is not in the table"),
    ] {
        let findings = findings(path, source);
        assert!(findings.len() == 1 && findings[0].ends_with(finding), "{source}: {findings:?}");
    }
    let long = "x\n".repeat(LINES + 1);
    assert!(too_long("a.sql", &long).is_some());
    assert!(too_long("a.sql", &long[2..]).is_none());
}

#[test]
fn what_is_allowed_is_not_found() {
    for (path, source) in [
        ("src/graphql/query.rs", "use crate::{clock, service::{Service, tasks}, auth::Viewer}; use entity::task;"),
        (
            "src/graphql/query.rs",
            "// use crate::store;\nconst S: &str = \"crate::store\"; const R: &str = r#\"\"sqlx\"\"#;",
        ),
        ("src/graphql/query.rs", "fn f<'a>(store: &'a str) -> char { 's' } /* sea_orm */ use super::store_like;"),
        ("src/graphql/a/b.rs", "use super::super::a::store; use super::store;"),
        ("src/app.rs", "use crate::{store, http}; use axum::Router; use sqlx::Row;"),
        ("src/store/mod.rs", "use entity::{task}; use sea_orm::Statement; use crate::telemetry::Telemetry;"),
        ("tests/it/main.rs", "use sqlx; use async_graphql;"),
    ] {
        let findings = findings(path, source);
        assert!(findings.is_empty(), "{source}: {findings:?}");
    }
}

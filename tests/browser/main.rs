//! The pages in a real browser, Debian's Chromium, against the real program: `web/tests/`. Each script gets a database of its
//! own. A program of its own and one script after another: how smoothly a page scrolls is measured, too, and a browser takes
//! as much of the machine as all other tests together.
//!
//! To add one: a script beside the others in `web/tests/`, and its line here. `TASKWIRE_SCREENSHOTS` names a folder that is
//! filled with pictures of what the pages looked like.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

#[expect(dead_code, unused_imports, reason = "most of it is for the tests of tests/it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use taskwire::http::has_pages;
use tokio::sync::Mutex;

use support::{Folder, left_out, node};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

async fn run(script: &str) {
    if !has_pages() {
        return left_out("the pages are not in the program: scripts/web makes them");
    }
    if std::env::var_os("TASKWIRE_BROWSER").is_none() && !BROWSERS.into_iter().any(is_there) {
        return left_out("no Chromium: scripts/setup test says how to get it");
    }
    let _turn = ONE_AT_A_TIME.lock().await;
    // A browser writes into it.
    let home = Folder::new();
    let variables: Vec<(String, String)> = ["TASKWIRE_BROWSER", "TASKWIRE_SCREENSHOTS"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .chain([("HOME".to_owned(), home.path().display().to_string())])
        .collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let web = node::prepare("web").await;
    node::run_tests(&web, &format!("tests/{script}"), Duration::from_mins(2), &variables).await;
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

#[tokio::test]
async fn graphiql() {
    run("graphiql.mjs").await;
}

#[tokio::test]
async fn dashboard_list() {
    run("list.mjs").await;
}

#[tokio::test]
async fn dashboard_task() {
    run("task.mjs").await;
}

#[tokio::test]
async fn dashboard_views() {
    run("views.mjs").await;
}

#[tokio::test]
async fn dashboard_rough() {
    run("rough.mjs").await;
}

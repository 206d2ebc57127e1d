//! `scripts/setup`: what a person is asked for before `make run`, and before `make test`.

use std::fs;
use std::os::unix::fs::symlink;

use tokio::process::Command;

use super::support::{Folder, set_mode};

/// Runs it where there are a toolchain and PostgreSQL, but neither Node.js nor a browser, and nothing to install them by.
async fn setup(arguments: &[&str]) -> (Option<i32>, String) {
    let folder = Folder::new();
    for (name, says) in [
        ("cargo", ""),
        ("cc", ""),
        ("make", ""),
        ("initdb", ""),
        ("rustc", "rustc 1.99.0 (of the test)"),
        ("postgres", "postgres (PostgreSQL) 17.1"),
    ] {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        set_mode(&path, 0o755);
    }
    symlink("/bin/sed", folder.join("sed")).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup");
    let mut command = Command::new("/bin/bash");
    command.arg(script).args(arguments).env_clear().env("PATH", folder.path()).env("HOME", folder.path());
    let output = command.output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn node_and_a_browser_are_wanted_for_the_tests_alone() {
    assert_eq!(setup(&[]).await, (Some(0), String::new()));
    // The server runs without its pages.
    assert_eq!(setup(&["pages"]).await, (Some(0), String::new()));
    let (code, said) = setup(&["test"]).await;
    assert_eq!(code, Some(1));
    // pgbouncer may be there, out of the path.
    for missing in ["missing: nodejs npm chromium fonts-dejavu-core ", " docker-compose systemd python3-venv;"] {
        assert!(said.contains(missing), "{said}");
    }
}

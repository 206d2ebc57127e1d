//! What a release is trained with has to work, or a release would be built by something else than its work.

use std::path::Path;
use std::process::Command;

#[test]
fn a_release_is_trained_with_work_that_succeeds() {
    let bench = Path::new(env!("CARGO_BIN_EXE_bench"));
    // Of the same build: `cargo test --workspace` makes both.
    let server = bench.with_file_name("taskwire");
    assert!(server.exists(), "{}: run make test, which builds it", server.display());
    let output = Command::new(bench).args(["train", "--seconds", "0.5", "--server"]).arg(server).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for work in ["saves", "batches", "reads", "changes told to subscribers"] {
        let line = said.lines().find_map(|line| line.strip_prefix(work)?.strip_prefix(": ")).unwrap_or_default();
        assert!(line.parse::<usize>().is_ok_and(|answers| answers > 0), "{work}: {said}");
    }
}

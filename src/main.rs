//! The program. What it can do is in `cli.rs`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if cfg!(feature = "planted-hole") {
        eprintln!("taskwire: this was built for tests/hole, with a check left out; build it without that feature");
        return ExitCode::FAILURE;
    }
    taskwire::cli::main()
}

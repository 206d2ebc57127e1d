//! The program. What it can do is in `cli.rs`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

// docs/adr/0017; how it is set: .cargo/config.toml.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    if cfg!(feature = "planted-hole") {
        eprintln!("taskwire: this was built for tests/hole, with a check left out; build it without that feature");
        return ExitCode::FAILURE;
    }
    // With huge pages a server at rest had twice the memory, and it came and went by 2 MiB while nothing happened: a piece of
    // 4 KiB in use keeps the rest of its page, and the kernel puts pages together again that were given back in part. Where
    // that cannot be said (a sandbox), it costs memory, and nothing else. An embedded PostgreSQL inherits it.
    let _ = nix::sys::prctl::set_thp_disable(true);
    taskwire::cli::main()
}

//! The rights table over a server that forgets one check (feature `planted-hole`): it has to notice.
//! `cargo test --features planted-hole --test hole`, which `make test` does.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "that is how a test fails")]
#![expect(dead_code, unused_imports, reason = "the modules are those of tests/it, which uses all of them")]

#[path = "../it/api_server.rs"]
mod api_server;
#[path = "../it/auth/keys.rs"]
mod keys;
#[path = "../it/rights/mod.rs"]
mod rights;
#[path = "../it/support/mod.rs"]
mod support;

mod auth {
    pub(crate) use crate::keys;
}

use rights::{World, table, users_may_save};

#[tokio::test]
async fn the_table_finds_the_hole() {
    let mut found = World::new(false).await.run(table::TABLE).await;
    found.extend(World::new(true).await.run(users_may_save::USERS_MAY_SAVE).await);
    println!("{found:#?}");
    assert!(found.iter().any(|row| row.starts_with("node:TaskRecord for ben")), "{found:#?}");
    assert!(found.iter().any(|row| row.starts_with("Mutation.saveTaskHistory for ben")), "{found:#?}");
    assert!(found.iter().all(|row| row.contains(" for ben") || row.contains(" for anna")), "{found:#?}");
}

//! Gives memory back to the system when nothing happens any more.
//!
//! The allocator (mimalloc) keeps what was freed for a second, in case it is wanted again, and returns it with the next large
//! piece that is freed after that. After a storm comes no next one, so here is one: it is never written to, and costs nothing.

use std::hint::black_box;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(2);
/// More than the allocator keeps for a thread.
const LARGE: usize = 4 << 20;

pub(super) async fn run(token: CancellationToken) {
    while token.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        drop(black_box(Vec::<u8>::with_capacity(LARGE)));
    }
}

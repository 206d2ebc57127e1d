//! The shape of Taskwire's tables, nothing else: what a row holds, not what is done with it.
//!
//! One table a file, closed sets of values in [`values`]. A column that only SQL looks at (`xid`, the highest step, the sets of steps) is
//! left out on purpose. To add a column: the migration's SQL first, then the field here, then its readers in `src/store`.

pub mod feed_head;
pub mod task;
pub mod task_order;
pub mod task_record;
pub mod values;

pub use values::{CancellationOutcome, RecordKind, TaskStatus, UnknownValue};

//! The database: the pool, migrations under an advisory lock, and the embedded cluster.

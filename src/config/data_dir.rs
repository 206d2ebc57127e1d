//! The data directory.

use std::path::PathBuf;

use clap::Args;

/// Flags of the data directory.
#[derive(Debug, Clone, Default, Args)]
pub struct DataDirFlags {
    /// Folder for the embedded PostgreSQL [default: ./data; as root below a closed folder: /var/lib/taskwire]
    #[arg(long = "data-dir", env = "TASKWIRE_DATA_DIR", value_name = "FOLDER", help_heading = "Database")]
    pub data_dir: Option<PathBuf>,
}

/// The data directory, which holds the embedded cluster.
#[derive(Debug, Clone)]
pub struct DataDirConfig {
    /// The folder.
    pub path: PathBuf,
    /// Whether somebody chose it. Only where nobody did may another one take its place.
    pub chosen: bool,
}

impl Default for DataDirConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("./data"), chosen: false }
    }
}

impl DataDirConfig {
    pub(super) fn from_flags(flags: DataDirFlags) -> Self {
        match flags.data_dir.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Self { path, chosen: true },
            None => Self::default(),
        }
    }
}

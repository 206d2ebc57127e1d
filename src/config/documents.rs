//! Documents that the server knows beforehand, and how many it remembers for clients that send only their hash.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use serde::Deserialize;

use super::{ConfigError, humane};

/// A front end's documents are far smaller than this.
const FILE_BYTES: u64 = 64 << 20;
const SETTING: &str = "--trusted-documents";

/// Flags of documents.
#[derive(Debug, Clone, Default, Args)]
pub struct DocumentsFlags {
    /// File with the front end's documents: Apollo's persisted-query manifest, or a JSON object of hash and document
    #[arg(
        long = "trusted-documents",
        env = "TASKWIRE_TRUSTED_DOCUMENTS",
        value_name = "FILE",
        help_heading = "Documents"
    )]
    pub trusted_documents: Option<PathBuf>,
    /// Execute the documents of this file and nothing else
    #[arg(long = "trusted-documents-only", env = "TASKWIRE_TRUSTED_DOCUMENTS_ONLY", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, help_heading = "Documents")]
    pub trusted_documents_only: bool,
    /// Memory for documents that clients send once and ask for by their hash from then on; 0: none [default: 8MiB]
    #[arg(long = "persisted-queries", env = "TASKWIRE_PERSISTED_QUERIES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Documents")]
    pub persisted_bytes: Option<usize>,
}

/// Documents that the server knows.
#[derive(Clone)]
pub struct DocumentsConfig {
    /// Those of the operator, by their hash or id.
    pub trusted: HashMap<String, String>,
    /// Whether nothing else is executed.
    pub trusted_only: bool,
    /// Bytes of documents that clients have sent.
    pub persisted_bytes: usize,
}

impl Default for DocumentsConfig {
    fn default() -> Self {
        Self { trusted: HashMap::new(), trusted_only: false, persisted_bytes: 8 << 20 }
    }
}

/// How many, not what stands in them.
impl fmt::Debug for DocumentsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentsConfig")
            .field("trusted", &self.trusted.len())
            .field("trusted_only", &self.trusted_only)
            .field("persisted_bytes", &self.persisted_bytes)
            .finish()
    }
}

impl DocumentsConfig {
    pub(super) fn from_flags(flags: &DocumentsFlags) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self {
            trusted: flags.trusted_documents.as_deref().map(read).transpose()?.unwrap_or_default(),
            trusted_only: flags.trusted_documents_only,
            persisted_bytes: flags.persisted_bytes.unwrap_or(default.persisted_bytes),
        })
    }

    /// Whether anything could be executed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.trusted_only && self.trusted.is_empty() {
            return Err(ConfigError::new("--trusted-documents-only", format!("means nothing without {SETTING} FILE")));
        }
        if self.persisted_bytes > 1 << 30 {
            return Err(ConfigError::new("--persisted-queries", "must be at most 1GiB"));
        }
        Ok(())
    }
}

/// The two forms of the file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Manifest {
    Apollo { format: String, version: u32, operations: Vec<Operation> },
    Plain(HashMap<String, String>),
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    body: String,
}

fn read(path: &Path) -> Result<HashMap<String, String>, ConfigError> {
    let wrong = |problem: String| ConfigError::new(SETTING, format!("{}: {problem}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let length = file.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    if length as u64 > FILE_BYTES {
        return Err(wrong("is larger than 64MiB".into()));
    }
    let manifest = serde_json::from_str(&text).map_err(|_| {
        wrong("is neither Apollo's persisted-query manifest nor a JSON object of hash and document".into())
    })?;
    let documents: HashMap<String, String> = match manifest {
        Manifest::Plain(documents) => documents,
        Manifest::Apollo { format, version, operations } => {
            if format != "apollo-persisted-query-manifest" || version != 1 {
                return Err(wrong(format!(
                    "has format {format:?}, version {version}; apollo-persisted-query-manifest, version 1 is known"
                )));
            }
            operations.into_iter().map(|operation| (operation.id, operation.body)).collect()
        }
    };
    if documents.is_empty() {
        return Err(wrong("holds no document".into()));
    }
    Ok(documents)
}

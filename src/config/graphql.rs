//! What one operation may ask for, how long it may take, and how many there may be.

use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{ConfigError, humane};

/// Flags of operations.
#[derive(Debug, Clone, Default, Args)]
pub struct GraphqlFlags {
    /// Levels of fields in one operation [default: 20]
    #[arg(long, env = "TASKWIRE_MAX_DEPTH", value_name = "NUMBER", help_heading = "Operations")]
    pub max_depth: Option<u32>,
    /// What one operation may cost: its fields, each as often as the pages around it are long [default: 200000]
    #[arg(long, env = "TASKWIRE_MAX_COMPLEXITY", value_name = "NUMBER", help_heading = "Operations")]
    pub max_complexity: Option<u64>,
    /// Aliases in one operation, its fragments in place [default: 50]
    #[arg(long, env = "TASKWIRE_MAX_ALIASES", value_name = "NUMBER", help_heading = "Operations")]
    pub max_aliases: Option<u32>,
    /// Directives in one operation, its fragments in place [default: 50]
    #[arg(long, env = "TASKWIRE_MAX_DIRECTIVES", value_name = "NUMBER", help_heading = "Operations")]
    pub max_directives: Option<u32>,
    /// Fields at the root of one operation, its fragments in place [default: 20]
    #[arg(long, env = "TASKWIRE_MAX_ROOT_FIELDS", value_name = "NUMBER", help_heading = "Operations")]
    pub max_root_fields: Option<u32>,
    /// Names, numbers, texts and signs in one document [default: 10000]
    #[arg(long, env = "TASKWIRE_MAX_TOKENS", value_name = "NUMBER", help_heading = "Operations")]
    pub max_tokens: Option<u32>,
    /// Length of one document [default: 512KiB]
    #[arg(long, env = "TASKWIRE_MAX_DOCUMENT_BYTES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub max_document_bytes: Option<usize>,
    /// Size of one operation's variables, as JSON [default: 16MiB]
    #[arg(long, env = "TASKWIRE_MAX_VARIABLES_BYTES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub max_variables_bytes: Option<usize>,
    /// Memory for the variables of all queries and mutations at work; beyond it they are refused as OVERLOADED [default: 256MiB]
    #[arg(long, env = "TASKWIRE_VARIABLES_MEMORY", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub variables_memory: Option<usize>,
    /// Size of one answer, as JSON [default: 32MiB]
    #[arg(long, env = "TASKWIRE_MAX_ANSWER_BYTES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub max_answer_bytes: Option<usize>,
    /// Entries of one page of a list, up to 500 [default: 500]
    #[arg(long, env = "TASKWIRE_MAX_PAGE_SIZE", value_name = "NUMBER", help_heading = "Operations")]
    pub max_page_size: Option<u32>,
    /// Records of one batch, up to 10000 [default: 10000]
    #[arg(long, env = "TASKWIRE_MAX_BATCH_RECORDS", value_name = "NUMBER", help_heading = "Operations")]
    pub max_batch_records: Option<u32>,
    /// Size of a step's result, as JSON, up to 256KiB [default: 256KiB]
    #[arg(long, env = "TASKWIRE_MAX_RESULT_BYTES", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub max_result_bytes: Option<usize>,
    /// Whether the schema is told, GraphiQL is there, and names like a misspelt one are suggested [default: on]
    #[arg(long, env = "TASKWIRE_INTROSPECTION", value_name = "ON|OFF", help_heading = "Operations")]
    pub introspection: Option<Switch>,
    /// How long one operation may take; of a subscription, its start and each shared event [default: 30s]
    #[arg(long, env = "TASKWIRE_OPERATION_TIMEOUT", value_name = "DURATION", value_parser = humane::duration, help_heading = "Operations")]
    pub operation_timeout: Option<Duration>,
    /// The same for maintenance: cleaning up, optimising, erasing a user [default: 10min]
    #[arg(long, env = "TASKWIRE_MAINTENANCE_TIME", value_name = "DURATION", value_parser = humane::duration, help_heading = "Operations")]
    pub maintenance_time: Option<Duration>,
    /// A query or mutation that takes longer is logged as a warning, with its document; 0s: none is [default: 1s]
    #[arg(long, env = "TASKWIRE_SLOW_OPERATION", value_name = "DURATION", value_parser = humane::duration, help_heading = "Operations")]
    pub slow_operation: Option<Duration>,
    /// Queries and mutations at work at the same time; beyond it they are refused as OVERLOADED [default: 4096]
    #[arg(long, env = "TASKWIRE_MAX_CONCURRENT_OPERATIONS", value_name = "NUMBER", help_heading = "Operations")]
    pub max_concurrent_operations: Option<u32>,
    /// Operations of one viewer in a second, and in one go; beyond it they are refused as `RATE_LIMITED` [default: no limit]
    #[arg(long, env = "TASKWIRE_MAX_OPERATIONS_PER_SECOND", value_name = "NUMBER", help_heading = "Operations")]
    pub max_operations_per_second: Option<NonZeroU32>,
    /// Cost (see --max-complexity) of one viewer's operations in a second, and in one go [default: no limit]
    #[arg(long, env = "TASKWIRE_MAX_COST_PER_SECOND", value_name = "NUMBER", help_heading = "Operations")]
    pub max_cost_per_second: Option<NonZeroU32>,
    /// Memory for documents that were read and checked before; 0 keeps none [default: 16MiB]
    #[arg(long, env = "TASKWIRE_DOCUMENT_CACHE", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub document_cache: Option<usize>,
    /// Memory for answers of subscriptions that many get alike; 0 keeps none [default: 8MiB]
    #[arg(long, env = "TASKWIRE_SHARED_ANSWERS", value_name = "SIZE", value_parser = humane::bytes, help_heading = "Operations")]
    pub shared_answers: Option<usize>,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is there.
    On,
    /// It is not.
    Off,
}

/// What one operation may ask for, how long it may take, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphqlConfig {
    /// Levels of fields.
    pub max_depth: u32,
    /// Fields, each as often as the pages around it are long.
    pub max_complexity: u64,
    /// Aliases, with the fragments in place.
    pub max_aliases: u32,
    /// Directives, with the fragments in place.
    pub max_directives: u32,
    /// Fields at the root, with the fragments in place.
    pub max_root_fields: u32,
    /// Tokens of a document.
    pub max_tokens: u32,
    /// Bytes of a document.
    pub max_document_bytes: usize,
    /// Bytes of the variables, as JSON.
    pub max_variables_bytes: usize,
    /// Bytes that the variables of all queries and mutations at work take in memory.
    pub variables_memory: usize,
    /// Bytes of an answer, as JSON.
    pub max_answer_bytes: usize,
    /// Entries of a page.
    pub max_page_size: u32,
    /// Records of a batch.
    pub max_batch_records: u32,
    /// Bytes of a result, as JSON.
    pub max_result_bytes: usize,
    /// Whether `__schema` and `__type` are answered, and misspelt names get suggestions.
    pub introspection: bool,
    /// How long an operation may take; of a subscription, its start and each shared event.
    pub operation_timeout: Duration,
    /// How long maintenance may take.
    pub maintenance_time: Duration,
    /// A query or mutation that takes longer is slow; none: nothing is.
    pub slow_operation: Option<Duration>,
    /// Queries and mutations at the same time.
    pub max_concurrent_operations: u32,
    /// Operations of one viewer in a second.
    pub max_operations_per_second: Option<NonZeroU32>,
    /// Cost of one viewer's operations in a second.
    pub max_cost_per_second: Option<NonZeroU32>,
    /// Bytes for documents that were read and checked before.
    pub document_cache: usize,
    /// Bytes for answers that many get alike.
    pub shared_answers: usize,
}

impl Default for GraphqlConfig {
    fn default() -> Self {
        Self {
            max_depth: 20,
            max_complexity: 200_000,
            max_aliases: 50,
            max_directives: 50,
            max_root_fields: 20,
            max_tokens: 10_000,
            max_document_bytes: 512 << 10,
            max_variables_bytes: 16 << 20,
            variables_memory: 256 << 20,
            max_answer_bytes: 32 << 20,
            max_page_size: 500,
            max_batch_records: 10_000,
            max_result_bytes: 256 << 10,
            introspection: true,
            operation_timeout: Duration::from_secs(30),
            maintenance_time: Duration::from_mins(10),
            slow_operation: Some(Duration::from_secs(1)),
            max_concurrent_operations: 4_096,
            max_operations_per_second: None,
            max_cost_per_second: None,
            document_cache: 16 << 20,
            shared_answers: 8 << 20,
        }
    }
}

impl GraphqlConfig {
    pub(super) fn from_flags(flags: &GraphqlFlags) -> Self {
        let default = Self::default();
        Self {
            max_depth: flags.max_depth.unwrap_or(default.max_depth),
            max_complexity: flags.max_complexity.unwrap_or(default.max_complexity),
            max_aliases: flags.max_aliases.unwrap_or(default.max_aliases),
            max_directives: flags.max_directives.unwrap_or(default.max_directives),
            max_root_fields: flags.max_root_fields.unwrap_or(default.max_root_fields),
            max_tokens: flags.max_tokens.unwrap_or(default.max_tokens),
            max_document_bytes: flags.max_document_bytes.unwrap_or(default.max_document_bytes),
            max_variables_bytes: flags.max_variables_bytes.unwrap_or(default.max_variables_bytes),
            variables_memory: flags.variables_memory.unwrap_or(default.variables_memory),
            max_answer_bytes: flags.max_answer_bytes.unwrap_or(default.max_answer_bytes),
            max_page_size: flags.max_page_size.unwrap_or(default.max_page_size),
            max_batch_records: flags.max_batch_records.unwrap_or(default.max_batch_records),
            max_result_bytes: flags.max_result_bytes.unwrap_or(default.max_result_bytes),
            introspection: flags.introspection.map_or(default.introspection, |switch| switch == Switch::On),
            operation_timeout: flags.operation_timeout.unwrap_or(default.operation_timeout),
            maintenance_time: flags.maintenance_time.unwrap_or(default.maintenance_time),
            slow_operation: flags.slow_operation.or(default.slow_operation).filter(|limit| !limit.is_zero()),
            max_concurrent_operations: flags.max_concurrent_operations.unwrap_or(default.max_concurrent_operations),
            max_operations_per_second: flags.max_operations_per_second,
            max_cost_per_second: flags.max_cost_per_second,
            document_cache: flags.document_cache.unwrap_or(default.document_cache),
            shared_answers: flags.shared_answers.unwrap_or(default.shared_answers),
        }
    }

    /// Whether anything can be asked at all, and nothing that the library cannot walk through.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=30).contains(&self.max_depth) {
            return Err(ConfigError::new("--max-depth", "must be 1 to 30"));
        }
        let at_least_one = [
            ("--max-complexity", self.max_complexity == 0),
            ("--max-root-fields", self.max_root_fields == 0),
            ("--max-tokens", self.max_tokens == 0),
            ("--max-document-bytes", self.max_document_bytes == 0),
            ("--max-answer-bytes", self.max_answer_bytes == 0),
            ("--max-concurrent-operations", self.max_concurrent_operations == 0),
        ];
        if let Some((setting, _)) = at_least_one.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::new(setting, "must be at least 1"));
        }
        // The hard ones: what is stored, and what an operation costs, is reckoned with them.
        let (page, batch, result) = (self.max_page_size, self.max_batch_records, self.max_result_bytes);
        for (setting, is_within, bounds) in [
            ("--max-page-size", (1..=500).contains(&page), "1 to 500"),
            ("--max-batch-records", (1..=10_000).contains(&batch), "1 to 10000"),
            ("--max-result-bytes", (1..=256 << 10).contains(&result), "1B to 256KiB"),
        ] {
            if !is_within {
                return Err(ConfigError::new(setting, format!("must be {bounds}")));
            }
        }
        if self.variables_memory < 1 << 20 {
            return Err(ConfigError::new("--variables-memory", "must be at least 1MiB"));
        }
        if self.operation_timeout < Duration::from_millis(10) || self.operation_timeout > Duration::from_hours(1) {
            return Err(ConfigError::new("--operation-timeout", "must be 10ms to 1h"));
        }
        if self.maintenance_time < self.operation_timeout || self.maintenance_time > Duration::from_hours(12) {
            return Err(ConfigError::new("--maintenance-time", "must be --operation-timeout or more, and at most 12h"));
        }
        Ok(())
    }
}

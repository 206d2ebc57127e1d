//! What is removed by its age, and when; and how the history is partitioned for it.

use std::str::FromStr as _;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use croner::Cron;
use croner::parser::{CronParser, Seconds};

use super::{ConfigError, Switch};

/// The most that is kept or asked for: a hundred years.
pub const MOST_DAYS: u32 = 36_525;
/// So many partitions are too many: each costs every plan that cannot leave it out, and takes a place in the table of locks.
const MOST_PARTITIONS: u32 = 120;

/// Flags of retention.
#[derive(Debug, Clone, Default, Args)]
pub struct RetentionFlags {
    /// For how many days a record is kept at least; 0: for ever [default: 30]
    #[arg(long, env = "TASKWIRE_KEEP_DAYS", value_name = "DAYS", help_heading = "Retention")]
    pub keep_days: Option<u32>,
    /// When older ones are removed: minute, hour, day, month and weekday in UTC, as cron has them [default: 0 2 * * *]
    #[arg(long, env = "TASKWIRE_RETENTION_SCHEDULE", value_name = "CRON", help_heading = "Retention")]
    pub retention_schedule: Option<String>,
    /// Whether an unfinished task stays in the lists when all its records have gone [default: on]
    #[arg(long, env = "TASKWIRE_KEEP_UNFINISHED", value_name = "ON|OFF", help_heading = "Retention")]
    pub keep_unfinished: Option<Switch>,
    /// How much time a partition of the history spans, and is removed at once [default: week]
    #[arg(long, env = "TASKWIRE_PARTITION_BY", value_name = "SPAN", help_heading = "Retention")]
    pub partition_by: Option<PartitionBy>,
}

/// How much time a partition spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PartitionBy {
    /// From midnight to midnight in UTC.
    Day,
    /// From Monday to Monday.
    Week,
    /// A month of the calendar.
    Month,
}

/// Times by a cron expression, in UTC. Shared, for it is large.
#[derive(Debug, Clone)]
pub struct Schedule(Arc<Cron>);

impl Schedule {
    /// Every night at two.
    pub const NIGHTLY: &str = "0 2 * * *";

    /// Reads minute, hour, day, month and weekday.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let schedule = parser.parse(text).map(|cron| Self(Arc::new(cron))).map_err(|error| error.to_string())?;
        // As with the 30th of February.
        match schedule.after(Utc::now()) {
            Some(_) => Ok(schedule),
            None => Err("it never comes".to_owned()),
        }
    }

    /// The first one after this moment.
    #[must_use]
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.find_next_occurrence(&moment, false).ok()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What is removed by its age, and when.
#[derive(Debug, Clone)]
pub struct RetentionConfig {
    /// For so many days a record is kept at least; 0: for ever.
    pub keep_days: u32,
    /// When older ones are removed.
    pub schedule: Schedule,
    /// Whether an unfinished task stays when all its records have gone.
    pub keep_unfinished: bool,
    /// How much time a partition spans.
    pub partition_by: PartitionBy,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        // The text is a constant that a test reads.
        let nightly = Cron::from_str(Schedule::NIGHTLY).unwrap_or_else(|_| unreachable!("a constant"));
        Self {
            keep_days: 30,
            schedule: Schedule(Arc::new(nightly)),
            keep_unfinished: true,
            partition_by: PartitionBy::Week,
        }
    }
}

impl RetentionConfig {
    pub(super) fn from_flags(flags: &RetentionFlags) -> Result<Self, ConfigError> {
        let default = Self::default();
        let schedule = flags.retention_schedule.as_deref().map(Schedule::parse).transpose().map_err(|why| {
            let problem = format!("{why}; minute, hour, day, month and weekday in UTC are wanted, as in \"0 2 * * *\"");
            ConfigError::new("--retention-schedule", problem)
        })?;
        Ok(Self {
            keep_days: flags.keep_days.unwrap_or(default.keep_days),
            schedule: schedule.unwrap_or(default.schedule),
            keep_unfinished: flags.keep_unfinished.map_or(default.keep_unfinished, |switch| switch == Switch::On),
            partition_by: flags.partition_by.unwrap_or(default.partition_by),
        })
    }

    /// Whether PostgreSQL can reckon so far back, and plan with so many partitions.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.keep_days > MOST_DAYS {
            return Err(ConfigError::new("--keep-days", format!("must be at most {MOST_DAYS}, a hundred years")));
        }
        let (days, wider) = match self.partition_by {
            PartitionBy::Day => (1, "week"),
            PartitionBy::Week => (7, "month"),
            PartitionBy::Month => return Ok(()),
        };
        if self.keep_days / days > MOST_PARTITIONS {
            let problem = format!(
                "would make more than {MOST_PARTITIONS} partitions for {} days, which makes everything slow: \
                 set it to {wider}, or --keep-days lower",
                self.keep_days
            );
            return Err(ConfigError::new("--partition-by", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_schedule_is_in_utc_and_goes_on() {
        let nightly = RetentionConfig::default().schedule;
        assert_eq!(nightly.as_str(), Schedule::NIGHTLY);
        assert_eq!(nightly.after(at("2026-03-29T01:59:59Z")), Some(at("2026-03-29T02:00:00Z")));
        assert_eq!(nightly.after(at("2026-03-29T02:00:00Z")), Some(at("2026-03-30T02:00:00Z")));
        let sundays = Schedule::parse("30 3 * * 0").unwrap();
        assert_eq!(sundays.after(at("2026-11-28T04:00:00Z")), Some(at("2026-11-29T03:30:00Z")));
    }

    #[test]
    fn what_is_no_schedule_is_refused_by_name() {
        for wrong in ["", "2 am", "0 25 * * *", "* * * * * *", "0 2 30 2 *", "0 2 * *"] {
            let flags = RetentionFlags { retention_schedule: Some(wrong.to_owned()), ..RetentionFlags::default() };
            let error = RetentionConfig::from_flags(&flags).expect_err(wrong);
            assert_eq!(error.setting, "--retention-schedule");
            assert!(error.problem.contains("0 2 * * *"), "{wrong}: {error}");
        }
    }

    #[test]
    fn too_many_partitions_are_refused_with_the_remedy() {
        let of = |keep_days, partition_by| {
            let config = RetentionConfig { keep_days, partition_by, ..RetentionConfig::default() };
            config.validate().map_err(|error| error.to_string())
        };
        assert!(
            of(0, PartitionBy::Day).is_ok() && of(100, PartitionBy::Day).is_ok() && of(800, PartitionBy::Week).is_ok()
        );
        assert!(of(366, PartitionBy::Day).unwrap_err().contains("week"));
        assert!(of(1_000, PartitionBy::Week).unwrap_err().contains("month"));
        assert!(of(MOST_DAYS, PartitionBy::Month).is_ok());
        assert!(of(MOST_DAYS + 1, PartitionBy::Month).unwrap_err().starts_with("--keep-days"));
    }
}

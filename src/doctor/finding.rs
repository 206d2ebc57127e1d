//! What was found, and how it is told: as text for people, as JSON for programs.

use std::fmt::{self, Display};

use serde::Serialize;

/// How bad it is, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// It works, and should not stay so.
    Warning,
    /// Something does not work, or records can be lost.
    Error,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, as in `clock.offset`. It does not change between versions.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen, in one line.
    pub what: String,
    /// What to do.
    pub remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, what: what.into(), remedy: None }
    }

    pub(super) fn note(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Note, what: what.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn warning(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn error(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, severity: Severity::Error, what: what.into(), remedy: Some(remedy.into()) }
    }

    /// What was asked for did not come: `what` says of what nothing is known.
    pub(super) fn unanswered(check: &'static str, error: &sqlx::Error) -> Self {
        let what = format!("cannot be told: {error}").replace('\n', " ");
        Self::error(check, what, "see to the other findings first, then look again")
    }
}

/// Everything that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The worst severity of all.
    pub worst: Severity,
    /// Host, port and database; without any, it was not got as far as that.
    pub database: Option<String>,
    /// In the order of the looking.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(database: Option<String>, findings: Vec<Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
        Self { worst, database, findings }
    }

    /// The process's exit code: 1 where something should be done.
    #[must_use]
    pub fn code(&self) -> u8 {
        u8::from(self.worst >= Severity::Warning)
    }

    /// For programs: one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// For people.
impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(database) = &self.database {
            writeln!(f, "database {database}\n")?;
        }
        let width = self.findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
        for Finding { check, severity, what, remedy } in &self.findings {
            writeln!(f, "{:7}  {check:width$}  {what}", severity.as_str())?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:7}  {:width$}  → {remedy}", "", "")?;
            }
        }
        match self.findings.iter().filter(|finding| finding.severity >= Severity::Warning).count() {
            0 => writeln!(f, "\nAll is well."),
            1 => writeln!(f, "\n1 thing to do."),
            more => writeln!(f, "\n{more} things to do."),
        }
    }
}

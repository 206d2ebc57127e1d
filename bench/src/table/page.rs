//! The section of docs/benchmarks.md that is made from a file of results, and from `bench/notes.md`, where people write what
//! bounds a row that is not reached. The picture beside it is `plot`'s.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::plot;
use super::report::{Bound, Results, RowResult, Verdict, find, medians};
use crate::Result;

/// Between these the section stands in docs/benchmarks.md.
const BEGIN: &str = "<!-- made by `bench table`: begin -->\n";
const END: &str = "<!-- made by `bench table`: end -->\n";
/// Beside the page.
const PICTURE: &str = "growth.svg";
/// The row that the picture is of.
const GROWN: &str = "grown";
const HEAD: &str = "| Work | What | Measured | Target | Floor | Reached |\n| --- | --- | --- | --- | --- | --- |";

/// What people have written about rows, by their keys.
pub(crate) struct Notes(BTreeMap<String, String>);

impl Notes {
    /// Those of `bench/notes.md`: a heading for each row.
    pub(crate) fn read() -> Result<Self> {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("notes.md");
        Ok(Self::of(&std::fs::read_to_string(file)?))
    }

    fn of(text: &str) -> Self {
        let sections = text.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
        Self(sections.map(|(key, text)| (key.trim().to_owned(), text.trim().to_owned())).collect())
    }

    fn about(&self, key: &str, row: &RowResult) -> Option<String> {
        match self.0.get(key).filter(|text| !text.is_empty()) {
            Some(text) => Some(text.clone()),
            None if row.claims.iter().all(|claim| claim.judge(&row.rounds).1 == Verdict::Reached) => None,
            None => Some(format!("**What bounds it is not written down yet**: `bench/notes.md`, heading `## {key}`.")),
        }
    }
}

impl Results {
    /// The rows, in the order of the table.
    fn in_order(&self) -> Vec<(&String, &RowResult)> {
        let mut rows: Vec<(&String, &RowResult)> = self.rows.iter().collect();
        rows.sort_by_key(|(_, row)| row.place);
        rows
    }

    /// What must come out, and whether it has.
    pub(crate) fn verdicts(&self) -> String {
        let mut text = String::new();
        if self.rows.values().any(|row| row.quick) {
            text.push_str("**Of a quick run: it shows that everything works. Its figures are none.**\n\n");
        }
        text.push_str(HEAD);
        text.push('\n');
        for (_, row) in self.in_order() {
            for claim in row.claims() {
                let _ = write!(text, "| {} | {claim}", row.title);
            }
        }
        text
    }

    /// The whole section, without its marks.
    fn section(&self, notes: &Notes) -> String {
        let list = |map: &BTreeMap<String, String>| {
            map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(" · ")
        };
        let mut text = format!("Machine: {}.\n\n", list(&self.machine));
        let _ = writeln!(text, "PostgreSQL: {}.\n", list(&self.postgresql));
        let _ = writeln!(text, "Versions: {}.\n", list(&self.versions));
        text.push_str(&self.verdicts());
        for (key, row) in self.in_order() {
            let _ = writeln!(text, "\n### {}\n\n{}", row.title, row.table(key, notes).trim_end());
        }
        text
    }

    /// Its picture, where the row was measured.
    fn picture(&self) -> Option<String> {
        self.rows.get(GROWN).and_then(plot::growth)
    }

    /// Puts the section into the page, between its marks, and the picture beside it.
    pub(crate) fn put_into(&self, page: &Path, notes: &Notes) -> Result<()> {
        let text = std::fs::read_to_string(page)?;
        let (before, rest) = text.split_once(BEGIN).ok_or_else(|| format!("no line {BEGIN:?} in the page"))?;
        let (_, after) = rest.split_once(END).ok_or_else(|| format!("no line {END:?} in the page"))?;
        std::fs::write(page, format!("{before}{BEGIN}{}{END}{after}", self.section(notes)))?;
        if let Some(picture) = self.picture() {
            std::fs::write(page.with_file_name(PICTURE), picture)?;
        }
        Ok(())
    }
}

impl RowResult {
    /// A line of a table for each of its claims.
    fn claims(&self) -> impl Iterator<Item = String> {
        self.claims.iter().map(|claim| {
            let (value, verdict) = claim.judge(&self.rounds);
            let (target, floor) = match claim.bound {
                Bound::AtLeast(target, floor) => (format!("≥ {target}"), floor.map(|floor| format!("≥ {floor}"))),
                Bound::AtMost(target) => (format!("≤ {target}"), None),
            };
            let dash = || "–".to_owned();
            let (value, floor) = (value.map_or_else(dash, |value| value.to_string()), floor.unwrap_or_else(dash));
            format!("{} | {value} | {target} | {floor} | {} |\n", claim.what, verdict.words())
        })
    }

    /// For who waits at a terminal.
    pub(crate) fn told(&self, key: &str, notes: &Notes) -> String {
        let head = "| What | Measured | Target | Floor | Reached |\n| --- | --- | --- | --- | --- |\n";
        let claims: Vec<String> = self.claims().map(|claim| format!("| {claim}")).collect();
        let claims = if claims.is_empty() { String::new() } else { format!("\n{head}{}", claims.concat()) };
        format!("{}{claims}", self.table(key, notes))
    }

    /// The row's figures of every round, and how it was measured.
    fn table(&self, key: &str, notes: &Notes) -> String {
        let mut text = String::new();
        let quick = if self.quick { "**A quick run, not for figures.** " } else { "" };
        let dirty = if self.dirty { " with changes" } else { "" };
        let date = if self.date.is_empty() { String::new() } else { format!(", {}", self.date) };
        let _ = writeln!(
            text,
            "{quick}`--only {key}`, commit {}{dirty}{date}; each round {} s after {} s of warm-up.",
            self.commit, self.measured_seconds, self.warm_up_seconds
        );
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        for (number, round) in (1..).zip(&self.rounds) {
            if let Some(void) = &round.void {
                let _ = writeln!(text, "\n**Round {number} is void:** {}", void.replace('\n', " "));
            }
        }
        if let Some(note) = notes.about(key, self) {
            let _ = writeln!(text, "\n{note}");
        }
        if key == GROWN && plot::growth(self).is_some() {
            let _ =
                writeln!(text, "\n![Rates over the number of records, beside those of an empty database]({PICTURE})");
        }
        let numbers: Vec<String> = (1..=self.rounds.len()).map(|number| format!(" Round {number} |")).collect();
        let numbers = numbers.concat();
        let _ = writeln!(text, "\n| Figure |{numbers} Median |\n| --- |{} --- |", " --- |".repeat(self.rounds.len()));
        for median in medians(&self.rounds) {
            let values = self.rounds.iter().map(|round| match find(&round.figures, &median.name) {
                Some(figure) if round.void.is_none() => format!(" {} |", figure.value),
                _ => " void |".to_owned(),
            });
            let values = values.collect::<String>();
            let _ = writeln!(text, "| {} |{values} {} {} |", median.name, median.value, median.unit);
        }
        text
    }
}

/// The newest file of `bench/results/` whose name is a day.
pub(crate) fn newest(folder: &Path) -> Option<PathBuf> {
    let is_day = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
        name.is_some_and(|name| name.parse::<chrono::NaiveDate>().is_ok())
    };
    std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_day).max()
}

#[cfg(test)]
mod tests {
    use super::super::report::{Claim, Round};
    use super::*;

    /// One that came to 1.
    fn row(bound: Bound) -> RowResult {
        let mut round = Round::default();
        round.add("taskwire", 1.0, "ms");
        let claim = Claim { what: "w".into(), of: "taskwire".into(), over: None, bound };
        RowResult { claims: vec![claim], rounds: vec![round], ..RowResult::default() }
    }

    #[test]
    fn a_row_that_is_not_reached_says_what_bounds_it_or_that_nobody_has_said_it() {
        let notes = Notes::of("# Notes\n\nA head.\n\n## batch\n\nThe disk.\n\n## status\n");
        assert_eq!(notes.about("batch", &row(Bound::AtLeast(2.0, None))).unwrap(), "The disk.");
        let unmeasured = RowResult { rounds: Vec::new(), ..row(Bound::AtMost(1.0)) };
        for row in [row(Bound::AtLeast(2.0, None)), row(Bound::AtLeast(2.0, Some(1.0))), unmeasured] {
            assert!(row.table("status", &notes).contains("What bounds it is not written down yet"));
        }
        assert_eq!(notes.about("status", &row(Bound::AtMost(1.0))), None);
        assert_eq!(notes.about("history", &row(Bound::AtMost(1.0))), None);
    }

    #[test]
    fn a_quick_run_says_so_in_its_table() {
        let mut results = Results::default();
        results.rows.insert("batch".into(), RowResult { quick: true, ..row(Bound::AtMost(1.0)) });
        assert!(results.verdicts().contains("quick run"));
        assert!(results.rows["batch"].told("batch", &Notes::of("")).contains("A quick run"));
    }

    #[test]
    fn the_page_has_the_section_of_the_newest_measurement_and_its_picture() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let docs = here.join("../docs");
        let page = std::fs::read_to_string(docs.join("benchmarks.md")).unwrap();
        let section = page.split_once(BEGIN).and_then(|(_, rest)| Some(rest.split_once(END)?.0)).unwrap();
        let Some(newest) = newest(&here.join("results")) else {
            assert_eq!(section, "", "a section without a measurement");
            return;
        };
        let results = Results::read(&newest).unwrap();
        let renew = format!("run: cargo run -p bench -- page --results {}", newest.display());
        assert_eq!(section, results.section(&Notes::read().unwrap()), "{renew}");
        assert_eq!(std::fs::read_to_string(docs.join(PICTURE)).ok(), results.picture(), "{renew}");
    }

    #[test]
    fn a_page_is_made_by_the_day() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["2026-11-02.json", "2026-11-10.json", "2026-11-25-sockets.json", "2026-12-01.txt", "notes.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(newest(folder.path()).unwrap().ends_with("2026-11-10.json"));
    }
}

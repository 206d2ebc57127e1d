//! What came of a measurement: the file in `bench/results/`, and the section of docs/benchmarks.md made from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;

/// Between these the section stands in docs/benchmarks.md.
const BEGIN: &str = "<!-- made by `bench table`: begin -->\n";
const END: &str = "<!-- made by `bench table`: end -->\n";

/// The file.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Results {
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) postgresql: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, String>,
    /// By its key, as `--only` has it.
    pub(crate) rows: BTreeMap<String, RowResult>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RowResult {
    /// Its place in the table.
    pub(crate) place: usize,
    pub(crate) title: String,
    pub(crate) commit: String,
    /// Whether the sources differed from the commit.
    pub(crate) dirty: bool,
    /// One short round, over less data: to see that it works.
    pub(crate) quick: bool,
    pub(crate) warm_up_seconds: f64,
    pub(crate) measured_seconds: f64,
    pub(crate) notes: Vec<String>,
    pub(crate) rounds: Vec<Round>,
    pub(crate) claims: Vec<Judged>,
}

/// Its figures, or why it does not count.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Round {
    pub(crate) figures: Vec<Figure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) void: Option<String>,
}

#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
}

impl Round {
    /// What one came to, or that it is void.
    pub(crate) fn of(outcome: Result<Self>) -> Self {
        outcome.unwrap_or_else(|error| Self { figures: Vec::new(), void: Some(error.to_string()) })
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        self.figures.push(Figure { name: name.into(), value: rounded(value), unit: unit.to_owned() });
    }
}

/// Three digits at least, and no more than two behind the point where there are so many before it.
fn rounded(value: f64) -> f64 {
    let scale = if value.abs() >= 100.0 { 10.0 } else { 1_000.0 };
    (value * scale).round() / scale
}

/// What must come out: of two figures' medians the ratio, or of one the value itself.
pub(crate) struct Claim {
    pub(crate) what: &'static str,
    pub(crate) of: String,
    pub(crate) over: Option<String>,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// With the floor, where there is one below the target.
    AtLeast(f64, Option<f64>),
    AtMost(f64),
}

/// A claim, and what was measured.
#[derive(Serialize, Deserialize)]
pub(crate) struct Judged {
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<String>,
    verdict: Verdict,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Reached,
    /// The floor, not the target.
    FloorOnly,
    Missed,
    /// No round counts, or one of its two figures was not measured.
    NotMeasured,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Reached => "yes",
            Self::FloorOnly => "**floor only**",
            Self::Missed => "**no**",
            Self::NotMeasured => "**not measured**",
        }
    }
}

/// The median of each figure, over the rounds that count.
pub(crate) fn medians(rounds: &[Round]) -> Vec<Figure> {
    let good: Vec<&Round> = rounds.iter().filter(|round| round.void.is_none()).collect();
    let first = good.first().map(|round| round.figures.as_slice()).unwrap_or_default();
    let median = |figure: &Figure| {
        let mut values: Vec<f64> =
            good.iter().filter_map(|round| find(&round.figures, &figure.name)).map(|found| found.value).collect();
        values.sort_by(f64::total_cmp);
        // Of an even number, what lies between the two in the middle.
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let value = rounded(f64::midpoint(at((values.len().max(1) - 1) / 2), at(values.len() / 2)));
        Figure { value, ..figure.clone() }
    };
    first.iter().map(median).collect()
}

fn find<'a>(figures: &'a [Figure], name: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.name == name)
}

pub(crate) fn judge(claims: &[Claim], rounds: &[Round]) -> Vec<Judged> {
    let medians = medians(rounds);
    let value = |name: &str| find(&medians, name).map(|figure| figure.value);
    claims
        .iter()
        .map(|claim| {
            let value = match &claim.over {
                Some(over) => value(&claim.of).zip(value(over)).map(|(of, over)| of / over),
                None => value(&claim.of),
            };
            // What is judged is what was measured, not what is printed of it.
            let (target, floor, verdict) = match claim.bound {
                Bound::AtLeast(target, floor) => (
                    format!("≥ {target}"),
                    floor.map(|floor| format!("≥ {floor}")),
                    match value {
                        None => Verdict::NotMeasured,
                        Some(value) if value >= target => Verdict::Reached,
                        Some(value) if floor.is_some_and(|floor| value >= floor) => Verdict::FloorOnly,
                        Some(_) => Verdict::Missed,
                    },
                ),
                Bound::AtMost(target) => (
                    format!("≤ {target}"),
                    None,
                    match value {
                        None => Verdict::NotMeasured,
                        Some(value) if value <= target => Verdict::Reached,
                        Some(_) => Verdict::Missed,
                    },
                ),
            };
            Judged { what: claim.what.to_owned(), value: value.map(rounded), target, floor, verdict }
        })
        .collect()
}

impl Results {
    /// Those of the file, whose rows stay as they are where they are not measured again.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        if !file.exists() {
            return Ok(Self::default());
        }
        Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
    }

    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(file, format!("{}\n", serde_json::to_string_pretty(self)?))?)
    }

    /// The whole section, without its marks.
    pub(crate) fn section(&self) -> String {
        let mut text = String::new();
        let list = |map: &BTreeMap<String, String>| {
            map.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(" · ")
        };
        let mut rows: Vec<(&String, &RowResult)> = self.rows.iter().collect();
        rows.sort_by_key(|(_, row)| row.place);
        let mut write = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        write(format!("Machine: {}.\n", list(&self.machine)));
        write(format!("PostgreSQL: {}.\n", list(&self.postgresql)));
        write(format!("Versions: {}.\n", list(&self.versions)));
        write("| Work | What | Measured | Target | Floor | Reached |\n| --- | --- | --- | --- | --- | --- |".into());
        for (_, row) in &rows {
            for claim in &row.claims {
                write(format!("| {} | {}", row.title, claim.cells()));
            }
        }
        for (key, row) in rows {
            write(format!("\n### {}\n\n{}", row.title, row.table(key).trim_end()));
        }
        text
    }

    /// Puts the section into the page, between its marks.
    pub(crate) fn put_into(&self, page: &Path) -> Result<()> {
        let text = std::fs::read_to_string(page)?;
        let (before, rest) = text.split_once(BEGIN).ok_or_else(|| format!("no line {BEGIN:?} in the page"))?;
        let (_, after) = rest.split_once(END).ok_or_else(|| format!("no line {END:?} in the page"))?;
        Ok(std::fs::write(page, format!("{before}{BEGIN}{}{END}{after}", self.section()))?)
    }
}

impl Judged {
    fn cells(&self) -> String {
        let value = self.value.map_or_else(|| "–".to_owned(), |value| value.to_string());
        let floor = self.floor.as_deref().unwrap_or("–");
        format!("{} | {value} | {} | {floor} | {} |", self.what, self.target, self.verdict.words())
    }
}

impl RowResult {
    /// For who waits at a terminal.
    pub(crate) fn told(&self, key: &str) -> String {
        let head = "| What | Measured | Target | Floor | Reached |\n| --- | --- | --- | --- | --- |\n";
        let claims: Vec<String> = self.claims.iter().map(|claim| format!("| {}\n", claim.cells())).collect();
        format!("{}\n{head}{}", self.table(key), claims.concat())
    }

    /// The row's figures of every round, and how it was measured.
    pub(crate) fn table(&self, key: &str) -> String {
        let mut text = String::new();
        let quick = if self.quick { "**A quick run, not for figures.** " } else { "" };
        let dirty = if self.dirty { " with changes" } else { "" };
        let _ = writeln!(
            text,
            "{quick}`--only {key}`, commit {}{dirty}; each round {} s after {} s of warm-up.",
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn round(ours: f64, theirs: f64) -> Round {
        let mut round = Round::default();
        round.add("taskwire", ours, "/s");
        round.add("peer", theirs, "/s");
        round
    }

    fn claim(bound: Bound) -> Claim {
        Claim { what: "times the peer's", of: "taskwire".into(), over: Some("peer".into()), bound }
    }

    fn verdict(bound: Bound, rounds: &[Round]) -> Verdict {
        judge(&[claim(bound)], rounds)[0].verdict
    }

    #[test]
    fn medians_are_compared_and_void_rounds_do_not_count() {
        let mut void = round(1.0, 1_000.0);
        void.void = Some("an error".into());
        let rounds = [round(300.0, 100.0), void, round(500.0, 100.0), round(290.0, 100.0)];
        assert_eq!(judge(&[claim(Bound::AtMost(9.0))], &rounds)[0].value, Some(3.0));
        assert_eq!(verdict(Bound::AtLeast(3.0, Some(2.0)), &rounds), Verdict::Reached);
        assert_eq!(verdict(Bound::AtLeast(3.1, Some(2.0)), &rounds), Verdict::FloorOnly);
        assert_eq!(verdict(Bound::AtLeast(3.1, None), &rounds), Verdict::Missed);
        assert_eq!(verdict(Bound::AtMost(2.9), &rounds), Verdict::Missed);
        assert_eq!(verdict(Bound::AtMost(2.9), &rounds[1..2]), Verdict::NotMeasured);
        let two = [round(200.0, 100.0), round(400.0, 100.0)];
        assert_eq!(judge(&[claim(Bound::AtMost(9.0))], &two)[0].value, Some(3.0));
    }

    #[test]
    fn a_value_just_below_a_target_is_not_rounded_up_to_it() {
        assert_eq!(verdict(Bound::AtLeast(3.0, None), &[round(299.9, 100.0)]), Verdict::Missed);
        assert_eq!(verdict(Bound::AtLeast(3.0, None), &[round(299_999.9, 100_000.0)]), Verdict::Missed);
    }

    #[test]
    fn the_page_has_the_section_of_the_newest_measurement() {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(here.join("../docs/benchmarks.md")).unwrap();
        let section = page.split_once(BEGIN).and_then(|(_, rest)| Some(rest.split_once(END)?.0)).unwrap();
        let files = std::fs::read_dir(here.join("results")).unwrap().map(|entry| entry.unwrap().path());
        match files.filter(|file| file.to_string_lossy().ends_with("-table.json")).max() {
            Some(newest) => {
                let results = Results::read(&newest).unwrap();
                assert_eq!(section, results.section(), "run: bench page --results {}", newest.display());
            }
            None => assert_eq!(section, "", "a section without a measurement"),
        }
    }
}

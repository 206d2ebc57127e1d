//! What came of a measurement: rounds and their medians, what must come out of them, and the file in `bench/results/`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;

/// The file.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Results {
    pub(crate) machine: BTreeMap<String, String>,
    pub(crate) postgresql: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, String>,
    /// By its key, as `--only` has it.
    pub(crate) rows: BTreeMap<String, RowResult>,
}

#[derive(Serialize, Deserialize, Default)]
pub(crate) struct RowResult {
    /// Its place in the table.
    pub(crate) place: usize,
    pub(crate) title: String,
    /// Of its measurement, where that is known: rows of a file may be of several days.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) date: String,
    pub(crate) commit: String,
    /// Whether the sources differed from the commit.
    pub(crate) dirty: bool,
    /// One short round, over less data: to see that it works.
    pub(crate) quick: bool,
    pub(crate) warm_up_seconds: f64,
    pub(crate) measured_seconds: f64,
    pub(crate) notes: Vec<String>,
    pub(crate) rounds: Vec<Round>,
    pub(crate) claims: Vec<Claim>,
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

/// What must come out: of two figures' medians the ratio, or of one the value itself. The file has the claim alone; what
/// came of it is told from the rounds whenever it is asked for, so that the two cannot differ.
#[derive(Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) what: String,
    pub(crate) of: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) over: Option<String>,
    pub(crate) bound: Bound,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// With the floor, where there is one below the target.
    AtLeast(f64, Option<f64>),
    AtMost(f64),
}

#[derive(PartialEq, Eq, Debug, Clone, Copy)]
pub(crate) enum Verdict {
    Reached,
    /// The floor, not the target.
    FloorOnly,
    Missed,
    /// No round counts, or one of its two figures was not measured.
    NotMeasured,
}

impl Verdict {
    pub(crate) fn words(self) -> &'static str {
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

pub(crate) fn find<'a>(figures: &'a [Figure], name: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.name == name)
}

impl Claim {
    /// What came of it, as printed, and whether that is enough: what is judged is what was measured, not what is printed of it.
    pub(crate) fn judge(&self, rounds: &[Round]) -> (Option<f64>, Verdict) {
        let medians = medians(rounds);
        let median = |name: &str| find(&medians, name).map(|figure| figure.value);
        let value = match &self.over {
            Some(over) => median(&self.of).zip(median(over)).map(|(of, over)| of / over),
            None => median(&self.of),
        };
        let verdict = match (value, self.bound) {
            (None, _) => Verdict::NotMeasured,
            (Some(value), Bound::AtLeast(target, _)) if value >= target => Verdict::Reached,
            (Some(value), Bound::AtLeast(_, Some(floor))) if value >= floor => Verdict::FloorOnly,
            (Some(value), Bound::AtMost(target)) if value <= target => Verdict::Reached,
            _ => Verdict::Missed,
        };
        (value.map(rounded), verdict)
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ours: f64, theirs: f64) -> Round {
        let mut round = Round::default();
        round.add("taskwire", ours, "/s");
        round.add("peer", theirs, "/s");
        round
    }

    fn claim(bound: Bound) -> Claim {
        Claim { what: "times the peer's".into(), of: "taskwire".into(), over: Some("peer".into()), bound }
    }

    fn verdict(bound: Bound, rounds: &[Round]) -> Verdict {
        claim(bound).judge(rounds).1
    }

    #[test]
    fn medians_are_compared_and_void_rounds_do_not_count() {
        let mut void = round(1.0, 1_000.0);
        void.void = Some("an error".into());
        let rounds = [round(300.0, 100.0), void, round(500.0, 100.0), round(290.0, 100.0)];
        assert_eq!(claim(Bound::AtMost(9.0)).judge(&rounds).0, Some(3.0));
        assert_eq!(verdict(Bound::AtLeast(3.0, Some(2.0)), &rounds), Verdict::Reached);
        assert_eq!(verdict(Bound::AtLeast(3.1, Some(2.0)), &rounds), Verdict::FloorOnly);
        assert_eq!(verdict(Bound::AtLeast(3.1, None), &rounds), Verdict::Missed);
        assert_eq!(verdict(Bound::AtMost(2.9), &rounds), Verdict::Missed);
        assert_eq!(verdict(Bound::AtMost(2.9), &rounds[1..2]), Verdict::NotMeasured);
        let two = [round(200.0, 100.0), round(400.0, 100.0)];
        assert_eq!(claim(Bound::AtMost(9.0)).judge(&two).0, Some(3.0));
    }

    #[test]
    fn a_value_just_below_a_target_is_not_rounded_up_to_it() {
        assert_eq!(verdict(Bound::AtLeast(3.0, None), &[round(299.9, 100.0)]), Verdict::Missed);
        assert_eq!(verdict(Bound::AtLeast(3.0, None), &[round(299_999.9, 100_000.0)]), Verdict::Missed);
    }
}

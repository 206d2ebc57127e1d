//! What somebody sees who waits: on a terminal which row of how many is at work, with what, and since when; elsewhere a line
//! for each step.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::Result;

pub(crate) struct Progress {
    all: MultiProgress,
    rows: ProgressBar,
    /// What is at work now.
    step: ProgressBar,
}

impl Progress {
    /// Of so many rows.
    pub(crate) fn new(rows: usize) -> Result<Self> {
        let all = MultiProgress::new();
        let bar = all.add(ProgressBar::new(u64::try_from(rows)?));
        bar.set_style(ProgressStyle::with_template("{bar:24} row {pos} of {len} · {msg} · {elapsed_precise}")?);
        let step = all.add(ProgressBar::new_spinner());
        let progress = Self { all, rows: bar, step };
        for bar in [&progress.rows, &progress.step] {
            // Rarely: what it costs is taken from what is measured.
            bar.enable_steady_tick(Duration::from_secs(1));
        }
        Ok(progress)
    }

    /// The next row begins.
    pub(crate) fn row(&self, name: &str) {
        self.rows.inc(1);
        self.rows.set_message(name.to_owned());
        self.say(name);
    }

    /// Something of it, that takes as long as it takes.
    pub(crate) fn step(&self, text: &str) -> Result<()> {
        self.step.set_style(ProgressStyle::with_template("{spinner} {msg} · {elapsed}")?);
        self.begin(text);
        Ok(())
    }

    /// Something of it that counts up to `length`: the bar to move.
    pub(crate) fn counted(&self, text: &str, length: usize) -> Result<ProgressBar> {
        self.step.set_style(ProgressStyle::with_template(
            "{spinner} {msg} · {bar:24} {human_pos} of {human_len} · {eta} left",
        )?);
        self.step.set_length(u64::try_from(length)?);
        self.begin(text);
        Ok(self.step.clone())
    }

    fn begin(&self, text: &str) {
        self.step.reset();
        self.step.set_message(text.to_owned());
        self.say(&format!("  {text}"));
    }

    /// Above the bars, to stay.
    pub(crate) fn print(&self, text: &str) {
        self.all.suspend(|| println!("{text}"));
    }

    /// Where there are no bars.
    fn say(&self, text: &str) {
        if self.step.is_hidden() {
            println!("{text}");
        }
    }

    pub(crate) fn end(&self) {
        self.step.finish_and_clear();
        self.rows.finish_and_clear();
    }
}

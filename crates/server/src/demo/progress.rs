//! What the demo shows while it works: bars on a terminal, a line a step otherwise.
//!
//! Always holds: nothing here decides anything; output that cannot be written is lost, not an error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where the demo's steps are shown.
pub(crate) struct Progress {
    terminal: bool,
}

/// A step under way.
pub(crate) struct Step {
    what: String,
    unit: &'static str,
    started: Instant,
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// Bars if standard output is a terminal.
    pub(crate) fn new() -> Self {
        Progress { terminal: std::io::stdout().is_terminal() && std::io::stderr().is_terminal() }
    }

    /// Begins a step of about `length` units.
    pub(crate) fn step(&self, what: impl Display, length: u64, unit: &'static str) -> Step {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if self.terminal {
            let style = ProgressStyle::with_template("{msg:24} {bar:40} {human_pos:>12}/{human_len} {elapsed}")
                .expect("the template is well formed");
            bar.set_style(style);
            bar.set_message(what.to_string());
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Step { what: what.to_string(), unit, started: Instant::now(), bar, terminal: self.terminal }
    }
}

impl Step {
    /// A handle that counts units from another thread.
    pub(crate) fn counter(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Ends the step, which came to `units`.
    pub(crate) fn finish(self, units: u64) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        let Step { what, unit, .. } = &self;
        say(format_args!("{what:24} {units:>12} {unit} in {seconds:.1} s"));
    }
}

impl Drop for Step {
    /// A step that fails leaves no half-drawn bar under the error.
    fn drop(&mut self) {
        if self.terminal && !self.bar.is_finished() {
            self.bar.finish_and_clear();
        }
    }
}

/// A line on standard output, at once: a script may be waiting for it.
pub(crate) fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    // A closed pipe is no reason to stop serving.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

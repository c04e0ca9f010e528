//! The figures of one node beside three: gathered, judged, printed, and written as JSON.

use std::fmt;

use serde::Serialize;

use crate::report::TextTable;

/// What a figure is meant to be.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Aim {
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Aim::AtMost(limit) => value <= limit,
            Aim::AtLeast(limit) => value >= limit,
        }
    }
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    aim: Option<Aim>,
    is_met: Option<bool>,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Results {
    figures: Vec<Figure>,
    failures: Vec<String>,
}

impl Results {
    /// Keeps a figure, and says it.
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64, aim: Option<Aim>) {
        let name = name.into();
        eprintln!("{name}: {value:.3}");
        self.figures.push(Figure { name, value, aim, is_met: aim.map(|aim| aim.is_met(value)) });
    }

    /// Something was wrong.
    pub(super) fn fail(&mut self, what: String) {
        eprintln!("WRONG  {what}");
        self.failures.push(what);
    }

    pub(super) fn is_right(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn aims_are_met(&self) -> bool {
        self.figures.iter().all(|figure| figure.is_met != Some(false))
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = TextTable::new(["figure", "value", "aim"]);
        for figure in &self.figures {
            let aim = match figure.aim {
                None => String::new(),
                Some(aim) => {
                    let (sign, limit) = match aim {
                        Aim::AtMost(limit) => ("<=", limit),
                        Aim::AtLeast(limit) => (">=", limit),
                    };
                    format!("{sign} {limit} {}", if aim.is_met(figure.value) { "met" } else { "MISSED" })
                }
            };
            table.row([figure.name.clone(), format!("{:.3}", figure.value), aim]);
        }
        write!(f, "{table}")?;
        for failure in &self.failures {
            writeln!(f, "WRONG  {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_or_missed_and_says_so() {
        let mut results = Results::default();
        results.add("ratio", 1.04, Some(Aim::AtMost(1.05)));
        results.add("speed-up", 2.8, Some(Aim::AtLeast(2.7)));
        results.add("rate", 100.0, None);
        assert!(results.aims_are_met() && results.is_right());
        results.add("slow", 2.0, Some(Aim::AtMost(1.3)));
        assert!(!results.aims_are_met());
        assert!(results.to_string().contains("<= 1.3 MISSED"));
        results.fail("q01: 3 rows, 4 rows".to_owned());
        assert!(!results.is_right());
    }
}

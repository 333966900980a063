//! Turns probe outcomes into a verdict on one target.
//!
//! Knows nothing of what a probe is, when the next one runs, or who reads the verdict. No time
//! appears here: thresholds count outcomes, and `schedule` decides how often they come.

use std::num::NonZeroU8;

/// What one probe said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
}

/// What the probes say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// No probe has answered yet.
    Unknown,
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

impl Verdict {
    /// As the API, the metrics and the state file call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How many outcomes in a row change a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// To unhealthy.
    pub failure: NonZeroU8,
    /// To healthy.
    pub success: NonZeroU8,
}

/// One target's verdict, and how many outcomes in a row have spoken against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    verdict: Verdict,
    contrary: u8,
    thresholds: Thresholds,
}

impl Machine {
    /// Begins with a verdict from before a restart, or with none.
    pub fn new(verdict: Verdict, thresholds: Thresholds) -> Self {
        Self {
            verdict,
            contrary: 0,
            thresholds,
        }
    }

    /// The verdict in force.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How many more outcomes like the last would change the verdict; `None` while none dissents.
    pub fn left(&self) -> Option<u8> {
        (self.contrary > 0).then(|| self.needed().saturating_sub(self.contrary))
    }

    fn needed(&self) -> u8 {
        match self.verdict {
            Verdict::Unknown => 1,
            Verdict::Healthy => self.thresholds.failure.get(),
            Verdict::Unhealthy => self.thresholds.success.get(),
        }
    }

    /// Weighs one outcome. Returns the verdict only when this outcome changed it.
    ///
    /// The first outcome decides at once. One that agrees clears the evidence, so a flapping target
    /// keeps the verdict it has.
    pub fn observe(&mut self, outcome: Outcome) -> Option<Verdict> {
        let said = match outcome {
            Outcome::Pass => Verdict::Healthy,
            Outcome::Fail => Verdict::Unhealthy,
        };
        if said == self.verdict {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1; // Cannot overflow: reaching `needed`, a u8, resets it.
        if self.contrary < self.needed() {
            return None;
        }
        self.verdict = said;
        self.contrary = 0;
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds P/F to a fresh target with failure 3 and success 2, and reads the verdict after each.
    #[track_caller]
    fn check(outcomes: &str, verdicts: &str) {
        let thresholds = Thresholds {
            failure: NonZeroU8::new(3).unwrap(),
            success: NonZeroU8::new(2).unwrap(),
        };
        let mut machine = Machine::new(Verdict::Unknown, thresholds);
        let found: String = outcomes
            .chars()
            .map(|c| {
                machine.observe(if c == 'P' {
                    Outcome::Pass
                } else {
                    Outcome::Fail
                });
                match machine.verdict() {
                    Verdict::Unknown => '?',
                    Verdict::Healthy => 'H',
                    Verdict::Unhealthy => 'U',
                }
            })
            .collect();
        assert_eq!(found, verdicts, "after {outcomes}");
    }

    #[test]
    fn the_first_result_decides() {
        check("P", "H");
        check("F", "U");
    }

    #[test]
    fn falls_on_the_third_failure_in_a_row() {
        check("PFFF", "HHHU");
    }

    #[test]
    fn one_pass_clears_the_evidence() {
        check("PFFPFFF", "HHHHHHU");
    }

    #[test]
    fn rises_on_the_second_success_in_a_row() {
        check("FPFPP", "UUUUH");
    }

    #[test]
    fn says_how_many_results_are_left_to_a_flip() {
        let thresholds = Thresholds {
            failure: NonZeroU8::new(3).unwrap(),
            success: NonZeroU8::new(2).unwrap(),
        };
        let mut machine = Machine::new(Verdict::Healthy, thresholds);
        assert_eq!(machine.left(), None);
        machine.observe(Outcome::Fail);
        assert_eq!(machine.left(), Some(2));
        machine.observe(Outcome::Fail);
        assert_eq!(machine.left(), Some(1));
    }

    #[test]
    fn a_threshold_of_255_is_reached() {
        let thresholds = Thresholds {
            failure: NonZeroU8::MAX,
            success: NonZeroU8::MIN,
        };
        let mut machine = Machine::new(Verdict::Healthy, thresholds);
        let flips = (0..255)
            .filter(|_| machine.observe(Outcome::Fail).is_some())
            .count();
        assert_eq!((flips, machine.verdict()), (1, Verdict::Unhealthy));
    }
}

//! Where a region speaks of positions.

use super::random::Random;

/// Where a region speaks of positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Speech {
    /// `Meridian-Committed` on answers to writes.
    pub(super) commits: bool,
    /// `Meridian-Applied` on all answers.
    pub(super) answers: bool,
    /// On those to health checks.
    pub(super) probes: bool,
    /// It pushes to the admin API.
    pub(super) pushes: bool,
    /// It answers long polls.
    pub(super) polls: bool,
}

impl Speech {
    /// The ways that there are, the usual ones more often.
    pub(super) fn any(random: &mut Random) -> Self {
        let silent = Self::default();
        let probed = Self {
            probes: true,
            ..silent
        };
        let observed = Self {
            answers: true,
            ..probed
        };
        let exact = Self {
            commits: true,
            ..observed
        };
        let pushed = Self {
            commits: random.chance(50),
            pushes: true,
            ..silent
        };
        let polled = Self {
            polls: true,
            ..exact
        };
        let only_probed = Self {
            commits: random.chance(50),
            ..probed
        };
        let all = Self {
            pushes: true,
            ..polled
        };
        random.pick(&[
            exact,
            exact,
            observed,
            silent,
            only_probed,
            pushed,
            polled,
            all,
        ])
    }

    /// Whether nobody ever hears of a position.
    pub(super) fn is_silent(self) -> bool {
        self == Self::default()
    }

    /// A push speaks for all replicas, and a pin leads to all.
    pub(super) fn takes_one_replica(self) -> bool {
        self.pushes || !(self.commits || self.answers)
    }
}

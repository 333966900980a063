//! From a region's targets to the region.

use super::machine::Verdict;

/// How a region is, by its probes and its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// No probe has answered yet; counts as healthy.
    Unknown,
    /// All its targets are healthy.
    Healthy,
    /// Enough of its targets are healthy, not all.
    Degraded,
    /// Fewer than `min_healthy` are.
    Unhealthy,
    /// Enough targets pass their probes, but too many of those are ejected for what traffic showed.
    Ejected,
}

impl Health {
    /// Whether it may be chosen.
    pub fn is_able(self) -> bool {
        match self {
            Self::Unknown | Self::Healthy | Self::Degraded => true,
            Self::Unhealthy | Self::Ejected => false,
        }
    }

    /// As the API, the metrics and the page call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            // The API's word for either.
            Self::Unhealthy | Self::Ejected => "unhealthy",
        }
    }

    /// As events and `services[].health` tell it and the state file keeps it: who took a region out matters there.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ejected => "ejected",
            Self::Unknown | Self::Healthy | Self::Degraded | Self::Unhealthy => self.as_str(),
        }
    }

    /// What such a word says.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [
            Self::Unknown,
            Self::Healthy,
            Self::Degraded,
            Self::Unhealthy,
            Self::Ejected,
        ];
        all.into_iter().find(|health| health.word() == word)
    }
}

/// A region's health for one service. Targets not probed yet count as healthy, and so does a region
/// without targets: nothing speaks against it.
pub fn of_targets(verdicts: impl IntoIterator<Item = Verdict>, min_healthy: u16) -> Health {
    let (mut unknown, mut healthy, mut unhealthy) = (0_u16, 0_u16, 0_u16);
    for verdict in verdicts {
        match verdict {
            Verdict::Unknown => unknown = unknown.saturating_add(1),
            Verdict::Healthy => healthy = healthy.saturating_add(1),
            Verdict::Unhealthy => unhealthy = unhealthy.saturating_add(1),
        }
    }
    match (healthy, unhealthy) {
        (0, 0) => Health::Unknown,
        (_, 0) => Health::Healthy,
        _ if healthy.saturating_add(unknown) < min_healthy => Health::Unhealthy,
        (0, _) if unknown == 0 => Health::Unhealthy,
        _ => Health::Degraded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verdicts: &str, min_healthy: u16, expected: Health) {
        let verdicts = verdicts.chars().map(|c| match c {
            'H' => Verdict::Healthy,
            'U' => Verdict::Unhealthy,
            _ => Verdict::Unknown,
        });
        assert_eq!(of_targets(verdicts, min_healthy), expected);
    }

    #[test]
    fn a_region_is_as_healthy_as_enough_of_its_targets() {
        check("", 1, Health::Unknown);
        check("??", 1, Health::Unknown);
        check("H?", 1, Health::Healthy);
        check("HH", 2, Health::Healthy);
        check("HU", 1, Health::Degraded);
        check("HU", 2, Health::Unhealthy);
        check("?U", 1, Health::Degraded);
        check("UU", 1, Health::Unhealthy);
        check("UU", 0, Health::Unhealthy);
    }
}

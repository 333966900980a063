//! What of the last minute's traffic a drain would move, as far as that can be told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ids::RegionId;

/// How much traffic would move, and about how much of it where to.
#[derive(Debug)]
pub(super) struct Estimated {
    pub(super) moved: u64,
    /// Without a region: nowhere.
    pub(super) to: BTreeMap<Option<RegionId>, u64>,
}

impl Estimated {
    /// This and more.
    pub(super) fn and(mut self, more: Self) -> Self {
        self.moved += more.moved;
        for (to, number) in more.to {
            *self.to.entry(to).or_default() += number;
        }
        self
    }

    /// As a dry run tells it, beside how many there were in all.
    pub(super) fn told(
        &self,
        name: &impl Fn(RegionId) -> String,
        (what, all): (&str, u64),
    ) -> Value {
        let each = self.to.iter();
        let each: Vec<Value> = each
            .map(|(to, number)| json!({ "region": to.map(name), "estimate": number }))
            .collect();
        json!({ what: all, "move": self.moved, "to": each })
    }
}

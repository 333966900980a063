//! What real traffic shows of origins, and the extra tries that it gets.

use std::time::Duration;

use super::duration;
use crate::config::kinds::parse_statuses;
use crate::config::plan::{PassiveHealth, Retries, RetryMethods};
use crate::config::tree::Node;
use crate::units::{Share, parse_size};

/// `health.passive`; none: off.
pub(super) fn passive(node: Option<&Node>) -> Option<PassiveHealth> {
    if node.and_then(Node::text) == Some("off") {
        return None;
    }
    let time = |key: &str, default: u64| {
        node.and_then(|node| node.read(key, duration))
            .unwrap_or(Duration::from_secs(default))
    };
    let count = |key: &str, default: u32| {
        node.and_then(|node| node.read(key, |text| text.parse().ok()))
            .unwrap_or(default)
    };
    let ejection = time("ejection", 30);
    Some(PassiveHealth {
        window: time("window", 10),
        min_requests: count("min_requests", 20),
        success_rate: node
            .and_then(|node| node.read("success_rate", |text| text.parse().ok()))
            .or_else(|| "80%".parse().ok())
            .unwrap_or(Share::NONE),
        consecutive_failures: count("consecutive_failures", 7),
        ejection,
        max_ejection: time("max_ejection", 300).max(ejection),
    })
}

/// `retries`.
pub(super) fn retries(node: Option<&Node>) -> Retries {
    let fifth = || "20%".parse::<Share>().ok();
    let time = |key: &str| {
        node.and_then(|node| node.read(key, duration))
            .unwrap_or(Duration::ZERO)
    };
    Retries {
        attempts: node
            .and_then(|node| node.read("attempts", |text| text.parse().ok()))
            .unwrap_or(2),
        budget: node
            .and_then(|node| node.read("budget", |text| text.parse().ok()))
            .or_else(fifth)
            .unwrap_or(Share::NONE),
        methods: match node
            .and_then(|node| node.get("methods"))
            .and_then(Node::text)
        {
            Some("none") => RetryMethods::None,
            Some("idempotent") => RetryMethods::Idempotent,
            Some(_) | None => RetryMethods::Safe,
        },
        on_status: node
            .and_then(|node| node.get("on_status"))
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(|item| parse_statuses(item.text()?))
            .collect(),
        per_try: time("per_try"),
        backoff: time("backoff"),
        hedge_after: time("hedge_after"),
        buffer: node
            .and_then(|node| node.read("buffer", |text| parse_size(text).ok()))
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(64 << 10),
    }
}

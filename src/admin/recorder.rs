//! The recorder that handles of counters come from: every core counts for itself, and Prometheus' recorder is told the
//! sums when somebody reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::PrometheusRecorder;

use crate::per_core::Count;

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, value: u64) {
        self.add(value.saturating_sub(self.total()));
    }
}

/// Counts of the cores, by the key of their metric.
#[derive(Default)]
pub(super) struct Counters(Mutex<HashMap<Key, Known>>);

struct Known {
    count: Arc<Count>,
    /// Where the sum is told.
    told: Counter,
}

impl Counters {
    /// Tells what has been counted.
    pub(super) fn tell(&self) {
        for known in self.known().values() {
            known.told.absolute(known.count.total());
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        // Each critical section leaves it whole, even if it were to panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prometheus' recorder, but for what its counters count.
pub(super) struct PerCoreRecorder {
    pub(super) counters: Arc<Counters>,
    pub(super) prometheus: PrometheusRecorder,
}

impl Recorder for PerCoreRecorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.prometheus.describe_counter(name, unit, help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.prometheus.describe_gauge(name, unit, help);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.prometheus.describe_histogram(name, unit, help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let mut known = self.counters.known();
        let known = known.entry(key.clone()).or_insert_with(|| Known {
            count: Arc::default(),
            told: self.prometheus.register_counter(key, metadata),
        });
        Counter::from_arc(known.count.clone())
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.prometheus.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.prometheus.register_histogram(key, metadata)
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::per_core::serve_on;

    fn recorder() -> PerCoreRecorder {
        PerCoreRecorder {
            counters: Arc::default(),
            prometheus: PrometheusBuilder::new().build_recorder(),
        }
    }

    fn requests(recorder: &PerCoreRecorder) -> Counter {
        metrics::with_local_recorder(
            recorder,
            || metrics::counter!("requests_total", "class" => "2xx"),
        )
    }

    #[test]
    fn what_the_cores_count_is_told_as_one_sum() {
        let recorder = recorder();
        let count = || (0..1_000).for_each(|_| requests(&recorder).increment(1));
        std::thread::scope(|scope| {
            for core in 0..3 {
                scope.spawn(move || {
                    serve_on(core);
                    count();
                });
            }
        });
        for _ in 0..2 {
            recorder.counters.tell();
            let text = recorder.prometheus.handle().render();
            assert!(
                text.contains("requests_total{class=\"2xx\"} 3000"),
                "{text}"
            );
        }
    }

    /// Were there a lock in it, this test would not end.
    #[test]
    fn whoever_has_a_handle_counts_while_others_read_and_register() {
        let recorder = recorder();
        let handle = requests(&recorder);
        let held = recorder.counters.known();
        std::thread::scope(|scope| {
            scope.spawn(|| handle.increment(5));
        });
        drop(held);
        recorder.counters.tell();
        let text = recorder.prometheus.handle().render();
        assert!(text.contains("requests_total{class=\"2xx\"} 5"), "{text}");
    }
}

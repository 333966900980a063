//! Counters of what happens to requests, by kind: each is looked up in the recorder when its kind first happens.
//!
//! Looking one up takes a lock that all threads share; counting what has happened before does not. The recorder must be
//! installed before anything happens.

use std::sync::OnceLock;

use metrics::Counter;

/// Up to `N` counters by what they count; kinds beyond that are looked up each time.
pub(crate) struct Registered<K, const N: usize> {
    known: [OnceLock<(K, Counter)>; N],
    register: fn(&K) -> Counter,
}

impl<K: Clone + PartialEq, const N: usize> Registered<K, N> {
    /// Those that `register` looks up.
    pub(crate) const fn new(register: fn(&K) -> Counter) -> Self {
        Self {
            known: [const { OnceLock::new() }; N],
            register,
        }
    }

    /// Counts one more of a kind.
    pub(crate) fn increment(&self, kind: &K) {
        for place in &self.known {
            let begin = || (kind.clone(), (self.register)(kind));
            let (known, counter) = place.get_or_init(begin);
            if known == kind {
                counter.increment(1);
                return;
            }
        }
        (self.register)(kind).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static LOOKED_UP: AtomicU64 = AtomicU64::new(0);
    static TOTAL: AtomicU64 = AtomicU64::new(0);

    struct Total;

    impl metrics::CounterFn for Total {
        fn increment(&self, value: u64) {
            TOTAL.fetch_add(value, Ordering::Relaxed);
        }

        fn absolute(&self, _: u64) {}
    }

    #[test]
    fn a_kind_is_looked_up_once_and_beyond_the_bound_each_time() {
        let register = |_: &char| {
            LOOKED_UP.fetch_add(1, Ordering::Relaxed);
            Counter::from_arc(Arc::new(Total))
        };
        let events = Registered::<char, 2>::new(register);
        for (kind, lookups) in [('a', 1), ('b', 2), ('a', 2), ('b', 2), ('c', 3), ('c', 4)] {
            events.increment(&kind);
            assert_eq!(LOOKED_UP.load(Ordering::Relaxed), lookups, "{kind}");
        }
        assert_eq!(TOTAL.load(Ordering::Relaxed), 6);
    }
}

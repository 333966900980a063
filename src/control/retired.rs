//! What a newer snapshot has replaced, until nobody reads it any more.
//!
//! Pure. Whoever lets go of a table last frees it, and a large one takes milliseconds: that must not be
//! a thread that answers queries. Faces read a table for far less than the second between two ticks.

use std::any::Any;

/// What a publisher took out of force.
pub type Replaced = Box<dyn Any + Send>;

/// Keeps what it is given for at least a whole tick.
#[derive(Default)]
pub(super) struct Retired {
    of_this_tick: Vec<Replaced>,
    of_the_last: Vec<Replaced>,
}

impl Retired {
    pub(super) fn keep(&mut self, replaced: Replaced) {
        self.of_this_tick.push(replaced);
    }

    pub(super) fn tick(&mut self) {
        self.of_the_last = std::mem::take(&mut self.of_this_tick);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_replaced_is_kept_for_a_whole_tick() {
        let table = Arc::new("table");
        let mut retired = Retired::default();
        retired.keep(Box::new(Arc::clone(&table)));
        retired.tick();
        assert_eq!(Arc::strong_count(&table), 2);
        retired.tick();
        assert_eq!(Arc::strong_count(&table), 1);
    }
}

//! Places are dense, so that tables can be indexed by them.

use super::PlaceId;
use crate::ids::Id;

impl Id for PlaceId {
    fn at(index: usize) -> Self {
        Self(u16::try_from(index).unwrap_or(u16::MAX))
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

//! What a connection's client carried last and was found genuine: most send the same with every request, and need
//! not be checked again.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// What is remembered of a connection.
#[derive(Default)]
pub(super) struct Recognized {
    pub(super) token: Memo<crate::positions::Token>,
    pub(super) home: Memo<super::affinity::Home>,
}

/// The last text of one kind, and what it says.
pub(super) struct Memo<T>(Mutex<Option<Box<Genuine<T>>>>);

/// What makes a text the same as another.
#[derive(Clone, Copy)]
pub(super) struct Sealed<'a> {
    pub(super) text: &'a str,
    /// The number of the key ring that opens it.
    pub(super) keyring: u64,
    /// What it is bound to.
    pub(super) scope: [&'a str; 2],
}

struct Genuine<T> {
    text: Box<str>,
    keyring: u64,
    scope: [Box<str>; 2],
    says: T,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Genuine<T> {
    /// In constant time, as the check that it stands for: a connection may carry several clients.
    fn is(&self, sealed: &Sealed<'_>) -> bool {
        let is_text = verify_slices_are_equal(self.text.as_bytes(), sealed.text.as_bytes()).is_ok();
        let [of, within] = &self.scope;
        is_text && self.keyring == sealed.keyring && [&**of, &**within] == sealed.scope
    }
}

impl<T: Clone> Memo<T> {
    /// What a text says that may have been opened before.
    pub(super) fn open<E>(
        &self,
        sealed: Sealed<'_>,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(genuine) = last.as_ref().filter(|genuine| genuine.is(&sealed)) {
            return Ok(genuine.says.clone());
        }
        let says = open()?;
        *last = Some(Box::new(Genuine {
            text: sealed.text.into(),
            keyring: sealed.keyring,
            scope: sealed.scope.map(Into::into),
            says: says.clone(),
        }));
        Ok(says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: Sealed<'_> = Sealed {
        text: "abc",
        keyring: 1,
        scope: ["service", "host"],
    };

    #[test]
    fn the_same_text_under_the_same_keys_and_for_the_same_scope_is_opened_once() {
        let memo = Memo::default();
        assert_eq!(memo.open(SEALED, || Ok::<_, ()>(7)), Ok(7));
        assert_eq!(memo.open(SEALED, || Err(())), Ok(7));
        let others = [
            Sealed {
                text: "abd",
                ..SEALED
            },
            Sealed {
                text: "ab",
                ..SEALED
            },
            Sealed {
                keyring: 2,
                ..SEALED
            },
            Sealed {
                scope: ["service", "other"],
                ..SEALED
            },
        ];
        for other in others {
            assert_eq!(memo.open(other, || Err(())), Err(()));
        }
        assert_eq!(
            memo.open(SEALED, || Err(())),
            Ok(7),
            "what is forged displaces nothing"
        );
    }

    #[test]
    fn the_newest_is_remembered() {
        let memo = Memo::default();
        let newer = Sealed {
            text: "d",
            ..SEALED
        };
        assert_eq!(memo.open(SEALED, || Ok::<_, ()>(7)), Ok(7));
        assert_eq!(memo.open(newer, || Ok::<_, ()>(8)), Ok(8));
        assert_eq!(memo.open(SEALED, || Err(())), Err(()));
    }
}

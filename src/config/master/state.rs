//! What one line of a master file leaves to the next: origin, owner and TTL (RFC 1035 §5.1, RFC 2308 §4).

use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::{Name, RData};

use super::Spot;
use crate::config::plan::SourceAt;
use crate::units::Ttl;

/// The owner of the record before.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    None,
    /// It could not be read, which has been told.
    Unread,
    Known(Name),
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Context<'a> {
    file: Arc<Path>,
    pub(super) origin: Name,
    pub(super) owner: Owner,
    parent: Option<&'a Context<'a>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(file: &Arc<Path>, origin: &Name) -> Self {
        Self {
            file: file.clone(),
            origin: origin.clone(),
            owner: Owner::None,
            parent: None,
        }
    }

    /// A file that this one includes.
    pub(super) fn within(&'a self, file: &Arc<Path>, origin: Name) -> Context<'a> {
        Context {
            file: file.clone(),
            origin,
            owner: self.owner.clone(),
            parent: Some(self),
        }
    }

    /// This file, the one that includes it, and so on.
    fn chain(&self) -> impl Iterator<Item = &Context<'a>> {
        std::iter::successors(Some(self), |context| context.parent)
    }

    /// How many files include this one.
    pub(super) fn depth(&self) -> usize {
        self.chain().count() - 1
    }

    pub(super) fn is_open(&self, file: &Path) -> bool {
        self.chain().any(|context| *context.file == *file)
    }

    pub(super) fn place(&self, at: Spot) -> SourceAt {
        SourceAt {
            file: self.file.clone(),
            line: at.line,
            column: at.column,
        }
    }

    /// A path in this file.
    pub(super) fn beside(&self, path: &Path) -> Arc<Path> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        folder.join(path).into()
    }
}

/// Which TTL a record has that names none.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// `$TTL`.
    pub(super) default: Option<Ttl>,
    /// The last one that a record had.
    last: Option<Ttl>,
    /// Of the SOA.
    minimum: Option<Ttl>,
    was_guessed: bool,
    /// Whether there was an SOA, readable or not, or may have been.
    pub(super) met_soa: bool,
}

impl Times {
    /// The TTL of a record, and whether it is the first for which it had to be guessed.
    ///
    /// RFC 2308 §4: `$TTL`. RFC 1035 §5.1: else the last one stated; §3.3.13: else the SOA's minimum.
    pub(super) fn of(&mut self, stated: Option<Ttl>, data: &RData) -> Result<(Ttl, bool), String> {
        if let RData::SOA(soa) = data {
            self.minimum = Some(Ttl::from_secs(soa.minimum));
        }
        self.last = stated.or(self.last);
        if let Some(ttl) = stated.or(self.default).or(self.last) {
            return Ok((ttl, false));
        }
        let Some(minimum) = self.minimum else {
            // Told once: what follows is read as if there were one.
            self.default = Some(Ttl::from_secs(0));
            return Err(
                "it has no TTL: write `$TTL 1h` above, or a TTL before the type".to_owned(),
            );
        };
        let is_first = !std::mem::replace(&mut self.was_guessed, true);
        Ok((minimum, is_first))
    }
}

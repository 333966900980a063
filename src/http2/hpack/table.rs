//! Fields, and the tables that they are taken from (RFC 7541 §2.3).

use std::collections::VecDeque;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// What a field counts beside its text (RFC 7541 §4.1).
const OVERHEAD: usize = 32;

/// The most that a table holds: what a peer may take for granted (RFC 9113 §6.5.2).
const LARGEST: usize = 4_096;

/// What a message says beside its fields (RFC 9113 §8.3, RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http2) enum Pseudo {
    Authority,
    Method,
    Path,
    Protocol,
    Scheme,
    Status,
}

/// What a field is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http2) enum Name {
    Pseudo(Pseudo),
    Regular(HeaderName),
    /// No name: of so many bytes.
    Wrong(usize),
}

/// A field as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http2) enum Field {
    Pseudo(Pseudo, Bytes),
    Regular(HeaderName, HeaderValue),
    /// Its name, or its value of so many bytes, is none (RFC 9113 §8.2.1).
    Wrong(Name, usize),
}

impl Pseudo {
    const ALL: [(&'static str, Self); 6] = [
        (":authority", Self::Authority),
        (":method", Self::Method),
        (":path", Self::Path),
        (":protocol", Self::Protocol),
        (":scheme", Self::Scheme),
        (":status", Self::Status),
    ];

    fn as_str(self) -> &'static str {
        let of = Self::ALL.iter().find(|(_, pseudo)| *pseudo == self);
        of.map_or("", |(name, _)| name)
    }
}

impl Name {
    pub(super) fn of(name: &[u8]) -> Self {
        if name.first() == Some(&b':') {
            let of = Pseudo::ALL
                .iter()
                .find(|(known, _)| known.as_bytes() == name);
            return of.map_or(Self::Wrong(name.len()), |(_, pseudo)| Self::Pseudo(*pseudo));
        }
        // Those of HTTP/2 are in lower case.
        HeaderName::from_lowercase(name).map_or(Self::Wrong(name.len()), Self::Regular)
    }

    fn len(&self) -> usize {
        match self {
            Self::Pseudo(pseudo) => pseudo.as_str().len(),
            Self::Regular(name) => name.as_str().len(),
            Self::Wrong(length) => *length,
        }
    }
}

impl Field {
    pub(super) fn new(name: Name, value: Bytes, is_sensitive: bool) -> Self {
        let length = value.len();
        match name {
            Name::Pseudo(pseudo) => Self::Pseudo(pseudo, value),
            Name::Regular(name) => match HeaderValue::from_maybe_shared(value) {
                Ok(mut value) => {
                    value.set_sensitive(is_sensitive);
                    Self::Regular(name, value)
                }
                Err(_) => Self::Wrong(Name::Regular(name), length),
            },
            wrong @ Name::Wrong(_) => Self::Wrong(wrong, length),
        }
    }

    fn name(&self) -> Name {
        match self {
            Self::Pseudo(pseudo, _) => Name::Pseudo(*pseudo),
            Self::Regular(name, _) => Name::Regular(name.clone()),
            Self::Wrong(name, _) => name.clone(),
        }
    }

    /// As RFC 7541 §4.1 and RFC 9113 §6.5.2 count it.
    pub(in crate::http2) fn size(&self) -> usize {
        let text = match self {
            Self::Pseudo(pseudo, value) => pseudo.as_str().len() + value.len(),
            Self::Regular(name, value) => name.as_str().len() + value.len(),
            Self::Wrong(name, value) => name.len() + value,
        };
        text + OVERHEAD
    }
}

/// RFC 7541 appendix A.
pub(super) const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

static KNOWN: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let field = |(name, value): &(&str, &'static str)| {
        Field::new(
            Name::of(name.as_bytes()),
            Bytes::from_static(value.as_bytes()),
            false,
        )
    };
    STATIC.iter().map(field).collect()
});

/// What a connection's fields refer to.
#[derive(Debug)]
pub(super) struct Table {
    /// Those that were added, the last one first, with their names where those are none.
    added: VecDeque<Field>,
    size: usize,
    most: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            added: VecDeque::new(),
            size: 0,
            most: LARGEST,
        }
    }
}

impl Table {
    /// The field of an index, from 1 on.
    pub(super) fn field(&self, index: usize) -> Option<&Field> {
        let at = index.checked_sub(1)?;
        match at.checked_sub(STATIC.len()) {
            None => KNOWN.get(at),
            Some(at) => self.added.get(at),
        }
    }

    pub(super) fn name(&self, index: usize) -> Option<Name> {
        self.field(index).map(Field::name)
    }

    /// Adds a field; one that is too large for the table empties it (RFC 7541 §4.4).
    pub(super) fn add(&mut self, field: Field) {
        let size = field.size();
        self.make_room(size);
        if size <= self.most {
            self.size += size;
            self.added.push_front(field);
        }
    }

    /// Bounds it, if that is no more than it may hold.
    pub(super) fn resize(&mut self, most: usize) -> Option<()> {
        self.most = (most <= LARGEST).then_some(most)?;
        self.make_room(0);
        Some(())
    }

    fn make_room(&mut self, size: usize) {
        while self.size + size > self.most
            && let Some(oldest) = self.added.pop_back()
        {
            self.size -= oldest.size();
        }
    }
}

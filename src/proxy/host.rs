//! The host that a request names, read once for all requests of a worker that name it alike.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Uri, header};

use super::problem::Problem;

/// How many hosts a worker remembers, and how long a name of one may be, bytes; others are read with every request.
const MOST_HOSTS: usize = 64;
const LONGEST_REMEMBERED: usize = 256;

/// The longest name of DNS as text, without the final dot, and the longest label of one.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

thread_local! {
    /// Of the names whose hashes lead to a place, the last one.
    static LATELY: RefCell<[Option<Arc<Host>>; MOST_HOSTS]> =
        const { RefCell::new([const { None }; MOST_HOSTS]) };
}

/// A host as requests name it.
#[derive(Debug)]
pub(super) struct Host {
    /// As it was given.
    pub(super) authority: Authority,
    /// The same, as origins are told of it.
    pub(super) told: HeaderValue,
    /// Lower case, without port or final dot.
    pub(super) name: Box<str>,
}

impl Host {
    /// The host that a request is for.
    pub(super) fn of(parts: &Parts) -> Result<Arc<Self>, Problem> {
        let given = given(parts)?;
        if given.len() > LONGEST_REMEMBERED {
            return Self::read(given).map(Arc::new);
        }
        let hash = FixedState::default().hash_one(given);
        let place = usize::try_from(hash).unwrap_or_default() % MOST_HOSTS;
        LATELY.with_borrow_mut(|lately| match lately.get_mut(place) {
            Some(Some(host)) if host.authority.as_str() == given => Ok(host.clone()),
            place => {
                let host = Self::read(given).map(Arc::new)?;
                place
                    .into_iter()
                    .for_each(|place| *place = Some(host.clone()));
                Ok(host)
            }
        })
    }

    fn read(given: &str) -> Result<Self, Problem> {
        let is_none = || {
            let shown: String = given.chars().take(LONGEST_NAME).collect();
            Problem::Malformed(format!("`{shown}` is no host"))
        };
        let name = without_port(given).filter(|name| is_in_bounds(name));
        Ok(Self {
            name: name.ok_or_else(is_none)?,
            told: HeaderValue::from_str(given).map_err(|_| is_none())?,
            authority: given.parse().map_err(|_| is_none())?,
        })
    }
}

/// The authority of a request's target, or else its Host.
fn given(parts: &Parts) -> Result<&str, Problem> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::Malformed(
            "the request has more than one Host".into(),
        ));
    }
    match (parts.uri.authority(), header) {
        (Some(authority), _) => Ok(authority.as_str()),
        (None, Some(header)) => header
            .to_str()
            .map_err(|_| Problem::Malformed("the Host is not ASCII".into())),
        (None, None) => Err(Problem::Malformed("the request has no Host".into())),
    }
}

fn without_port(authority: &str) -> Option<Box<str>> {
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if is_plain_host(host) && is_plain_port(port) {
        return Some(host.into());
    }
    parsed_without_port(authority)
}

/// Whether a name is no longer than one of DNS can be, nor any of its labels (RFC 1035 §2.3.4): what is kept for hosts is
/// bounded by that where a wildcard takes whatever clients name.
fn is_in_bounds(name: &str) -> bool {
    let is_label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len());
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

/// None, or a port.
fn is_plain_port(text: &str) -> bool {
    text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

/// A host as almost all requests have it, of which nothing has to be taken away.
fn is_plain_host(text: &str) -> bool {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let has_dot_outside = text.starts_with('.') || text.ends_with('.');
    !text.is_empty() && !has_dot_outside && text.bytes().all(is_plain)
}

fn parsed_without_port(authority: &str) -> Option<Box<str>> {
    let uri: Uri = authority.parse().ok()?;
    let authority = uri.authority()?;
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .unwrap_or_default();
    let port = port.strip_prefix(':').unwrap_or(port);
    let has_bad_port = !port.is_empty() && authority.port_u16().is_none();
    if authority.as_str().contains('@') || has_bad_port || authority.host().starts_with('.') {
        return None;
    }
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host);
    // One final dot is the root; a second one would stand behind an empty label (RFC 1035 §2.3.4).
    (!host.is_empty() && !host.ends_with('.')).then(|| host.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_host_is_what_parsing_makes_of_it(text in "[a-c0-1A.:-]{0,12}") {
            prop_assert_eq!(without_port(&text), parsed_without_port(&text));
        }
    }

    fn parts(uri: &str, hosts: &[&str]) -> Parts {
        let mut builder = http::Request::builder().uri(uri);
        for host in hosts {
            builder = builder.header("host", *host);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check(uri: &str, hosts: &[&str], expected: &str) {
        // Read and remembered.
        for _ in 0..2 {
            assert_eq!(&*Host::of(&parts(uri, hosts)).unwrap().name, expected);
        }
    }

    #[test]
    fn the_host_is_lower_case_without_port_or_final_dot() {
        check("/", &["API.example.com"], "api.example.com");
        check("/", &["api.example.com.:8443"], "api.example.com");
        check("/", &["[2001:db8::1]:443"], "[2001:db8::1]");
        let absolute = "https://api.example.com/x";
        check(absolute, &["other.example"], "api.example.com");
    }

    /// A name that is so long.
    fn of_length(length: usize) -> String {
        let name = format!("{}.", "a".repeat(49)).repeat(6);
        let mut name = name[..length].to_owned();
        name.replace_range(length - 1.., "b");
        name
    }

    #[test]
    fn a_name_may_be_as_long_as_dns_has_them() {
        check("/", &[&of_length(253)], &of_length(253));
        let longest_label = format!("{}.example.com", "a".repeat(63));
        check("/", &[&format!("{longest_label}.:443")], &longest_label);
    }

    #[test]
    fn a_request_without_one_good_host_is_malformed() {
        for hosts in [
            &[][..],
            &["a", "a"],
            &["a b"],
            &["u@a"],
            &["a:b"],
            &["a:65536"],
            &[""],
            &["."],
            &["api.example.com.."],
            &["api.example.com..:443"],
            &["api..example.com"],
            &[&of_length(254)],
            &[&format!("{}.example.com", "a".repeat(64))],
        ] {
            for _ in 0..2 {
                let read = Host::of(&parts("/", hosts));
                assert!(matches!(read, Err(Problem::Malformed(_))), "{hosts:?}");
            }
        }
    }

    #[test]
    fn hosts_that_share_a_place_do_not_stand_for_each_other() {
        for _ in 0..2 {
            for number in 0..4 * MOST_HOSTS {
                let given = format!("h{number}.Example:8443");
                let host = Host::of(&parts("/", &[&given])).unwrap();
                assert_eq!(*host.name, format!("h{number}.example"));
                assert_eq!(
                    (host.authority.as_str(), host.told.as_bytes()),
                    (&*given, given.as_bytes())
                );
            }
        }
    }

    #[test]
    fn a_host_is_remembered_up_to_its_length() {
        let is_remembered = |length: usize| {
            let given = format!("{}:65535", of_length(length - ":65535".len()));
            let parts = parts("/", &[&given]);
            Arc::ptr_eq(&Host::of(&parts).unwrap(), &Host::of(&parts).unwrap())
        };
        assert!(is_remembered(LONGEST_REMEMBERED));
        assert!(!is_remembered(LONGEST_REMEMBERED + 1));
    }
}

//! Heads and trailers as they are made of fields (RFC 9113 §8).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};

use super::hpack::{Field, Pseudo};

/// Fields that HTTP/2 does not have (RFC 9113 §8.2.2).
pub(crate) const OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What a CONNECT asks for (RFC 8441 §4), as a request's extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol(Bytes);

impl Protocol {
    pub(crate) const fn from_static(name: &'static str) -> Self {
        Self(Bytes::from_static(name.as_bytes()))
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why fields are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMessage {
    /// RFC 9113 §8.1.1.
    Malformed(&'static str),
    TooLarge,
}

/// The fields of a message as they come.
#[derive(Debug)]
pub(super) struct Fields {
    pseudo: [Option<Bytes>; PSEUDO],
    regular: HeaderMap,
    /// What they may still come to, as RFC 9113 §6.5.2 counts it.
    room: usize,
    most: usize,
    wrong: Option<NoMessage>,
}

/// How many pseudo-headers there are.
const PSEUDO: usize = 6;

impl Fields {
    /// Of at most so many fields that come to `room`.
    pub(super) fn new(most: usize, room: usize) -> Self {
        Self {
            pseudo: Default::default(),
            regular: HeaderMap::new(),
            room,
            most,
            wrong: None,
        }
    }

    pub(super) fn take(&mut self, field: Field) {
        if self.wrong.is_some() {
            return;
        }
        if let Err(wrong) = self.add(field) {
            self.wrong = Some(wrong);
        }
    }

    fn add(&mut self, field: Field) -> Result<(), NoMessage> {
        let room = self.room.checked_sub(field.size());
        self.room = room.ok_or(NoMessage::TooLarge)?;
        let wrong = match field {
            Field::Pseudo(pseudo, value) => return self.add_pseudo(pseudo, value),
            Field::Regular(name, value) => match check_regular(&name, &value) {
                None => return self.add_regular(name, value),
                Some(wrong) => wrong,
            },
            Field::Wrong(..) => "a field's name or value is none",
        };
        Err(NoMessage::Malformed(wrong))
    }

    fn add_regular(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), NoMessage> {
        if self.regular.len() == self.most {
            return Err(NoMessage::TooLarge);
        }
        let added = self.regular.try_append(name, value);
        added.map(|_| ()).map_err(|_| NoMessage::TooLarge)
    }

    fn add_pseudo(&mut self, pseudo: Pseudo, value: Bytes) -> Result<(), NoMessage> {
        let wrong = if !self.regular.is_empty() {
            "a pseudo-header comes behind other fields"
        } else {
            match self.pseudo.get_mut(place(pseudo)) {
                Some(place @ None) => {
                    *place = Some(value);
                    return Ok(());
                }
                Some(Some(_)) | None => "a pseudo-header is there twice",
            }
        };
        Err(NoMessage::Malformed(wrong))
    }

    fn pseudo(&mut self, pseudo: Pseudo) -> Option<Bytes> {
        self.pseudo.get_mut(place(pseudo))?.take()
    }

    /// The fields of trailers.
    pub(super) fn into_trailers(self) -> Result<HeaderMap, NoMessage> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if self.pseudo.iter().any(Option::is_some) {
            // RFC 9113 §8.1.
            return Err(NoMessage::Malformed("a pseudo-header is among trailers"));
        }
        Ok(self.regular)
    }

    /// The head of a request.
    pub(super) fn into_request(mut self) -> Result<Request<()>, NoMessage> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let malformed = NoMessage::Malformed;
        if self.pseudo(Pseudo::Status).is_some() {
            return Err(malformed("a request has no `:status`"));
        }
        let method = self.pseudo(Pseudo::Method);
        let method = method.and_then(|method| Method::from_bytes(&method).ok());
        let method = method.ok_or(malformed("`:method` is none"))?;
        let protocol = self.pseudo(Pseudo::Protocol);
        if protocol.is_some() && method != Method::CONNECT {
            return Err(malformed("`:protocol` is for CONNECT"));
        }
        let is_plain_connect = method == Method::CONNECT && protocol.is_none();
        let uri = self.uri(is_plain_connect).map_err(malformed)?;
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut()) = (method, uri);
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.regular;
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(Protocol(protocol));
        }
        Ok(request)
    }

    /// The head of an answer.
    pub(super) fn into_response(mut self) -> Result<Response<()>, NoMessage> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let malformed = NoMessage::Malformed;
        // The type of statuses has numbers from 100 to 999.
        let status = self.pseudo(Pseudo::Status);
        let status = status.and_then(|status| StatusCode::from_bytes(&status).ok());
        let status = status.ok_or(malformed("`:status` is none"))?;
        if self.pseudo.iter().any(Option::is_some) {
            return Err(malformed("a pseudo-header of requests is in an answer"));
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = self.regular;
        Ok(response)
    }

    fn uri(&mut self, is_plain_connect: bool) -> Result<Uri, &'static str> {
        let mut parts = http::uri::Parts::default();
        let authority = self.pseudo(Pseudo::Authority);
        if let Some(authority) = authority.filter(|authority| !authority.is_empty()) {
            let authority = Authority::from_maybe_shared(authority);
            parts.authority = Some(authority.map_err(|_| "`:authority` is none")?);
        }
        let (scheme, path) = (self.pseudo(Pseudo::Scheme), self.pseudo(Pseudo::Path));
        if is_plain_connect {
            // RFC 9113 §8.5.
            return match (scheme, path) {
                (None, None) => Uri::from_parts(parts).map_err(|_| "CONNECT says nowhere to go"),
                (Some(_), _) | (_, Some(_)) => Err("CONNECT has neither `:scheme` nor `:path`"),
            };
        }
        let scheme = scheme.and_then(|scheme| Scheme::try_from(&*scheme).ok());
        let scheme = scheme.ok_or("`:scheme` is none")?;
        // The type of paths would cut a fragment off.
        let path = path.filter(|path| !path.is_empty() && !path.contains(&b'#'));
        let path = path.and_then(|path| PathAndQuery::from_maybe_shared(path).ok());
        parts.path_and_query = Some(path.ok_or("`:path` is none")?);
        // What goes by Host alone has no scheme in its URI.
        parts.scheme = parts.authority.is_some().then_some(scheme);
        Uri::from_parts(parts).map_err(|_| "its pseudo-headers are no URI")
    }
}

/// Where a pseudo-header is kept.
fn place(pseudo: Pseudo) -> usize {
    match pseudo {
        Pseudo::Authority => 0,
        Pseudo::Method => 1,
        Pseudo::Path => 2,
        Pseudo::Protocol => 3,
        Pseudo::Scheme => 4,
        Pseudo::Status => 5,
    }
}

/// What is wrong with a field that is one.
fn check_regular(name: &HeaderName, value: &HeaderValue) -> Option<&'static str> {
    if OF_CONNECTIONS.contains(name) {
        return Some("a field is of connections of HTTP/1.1");
    }
    (name == TE && value != "trailers").then_some("TE says more than `trailers`")
}

/// How long the content of a message is that comes behind this head, if that is told.
pub(super) fn told_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let digits = length.as_bytes();
    let number = digits
        .iter()
        .all(u8::is_ascii_digit)
        .then(|| length.to_str());
    let number = number.and_then(|digits| digits.ok()?.parse().ok());
    number.map(Some).ok_or("Content-Length is no number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http2::hpack::Name;

    fn fields(
        fields: &[(Pseudo, &'static str)],
        regular: &[(&'static str, &'static str)],
    ) -> Fields {
        let mut taken = Fields::new(100, 1_000);
        for (pseudo, value) in fields {
            taken.take(Field::Pseudo(*pseudo, Bytes::from_static(value.as_bytes())));
        }
        for (name, value) in regular {
            let (name, value) = (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            taken.take(Field::Regular(name, value));
        }
        taken
    }

    const GET: [(Pseudo, &str); 4] = [
        (Pseudo::Method, "GET"),
        (Pseudo::Scheme, "https"),
        (Pseudo::Path, "/a?b"),
        (Pseudo::Authority, "www.example.com"),
    ];

    #[test]
    fn a_request_is_its_pseudo_headers_and_its_fields() {
        let request = fields(&GET, &[("x", "1"), ("te", "trailers")])
            .into_request()
            .unwrap();
        assert_eq!(request.uri(), "https://www.example.com/a?b");
        assert_eq!(request.headers().len(), 2);
        let by_host = fields(&GET[..3], &[("host", "a")]).into_request().unwrap();
        assert_eq!(by_host.uri(), "/a?b");
    }

    #[test]
    fn what_says_nothing_or_too_much_of_where_it_goes_is_no_request() {
        let without = |left_out: usize| {
            let mut pseudo = GET.to_vec();
            pseudo.remove(left_out);
            fields(&pseudo, &[]).into_request()
        };
        assert!([0, 1, 2].map(without).iter().all(Result::is_err));
        assert!(without(3).is_ok(), "it may say so in Host");
        let twice = [&GET[..], &[(Pseudo::Path, "/b")]].concat();
        assert!(fields(&twice, &[]).into_request().is_err());
        let answer = [&GET[..], &[(Pseudo::Status, "200")]].concat();
        assert!(fields(&answer, &[]).into_request().is_err());
        let mut late = fields(&GET[..3], &[("x", "1")]);
        late.take(Field::Pseudo(Pseudo::Authority, Bytes::from_static(b"a")));
        assert!(late.into_request().is_err());
        for field in [("connection", "close"), ("te", "gzip"), ("upgrade", "h2c")] {
            assert!(fields(&GET, &[field]).into_request().is_err(), "{field:?}");
        }
    }

    #[test]
    fn an_answer_is_its_status_and_its_fields() {
        let answer = fields(&[(Pseudo::Status, "404")], &[("x", "1")]);
        let answer = answer.into_response().unwrap();
        assert_eq!(
            (answer.status(), answer.headers().len()),
            (StatusCode::NOT_FOUND, 1)
        );
        for wrong in [
            &[][..],
            &[(Pseudo::Status, "")],
            &[(Pseudo::Status, "20")],
            &[(Pseudo::Status, "+20")],
            &[(Pseudo::Status, "2000")],
            &[(Pseudo::Status, "099")],
            &[(Pseudo::Status, "200"), (Pseudo::Status, "200")],
            &[(Pseudo::Status, "200"), (Pseudo::Path, "/")],
        ] {
            assert!(fields(wrong, &[]).into_response().is_err(), "{wrong:?}");
        }
        let upgrade = fields(&[(Pseudo::Status, "200")], &[("connection", "close")]);
        assert!(upgrade.into_response().is_err());
    }

    #[test]
    fn a_path_with_a_fragment_is_none() {
        let fragment = [GET[0], GET[1], (Pseudo::Path, "/a#b"), GET[3]];
        assert!(fields(&fragment, &[]).into_request().is_err());
    }

    #[test]
    fn connect_says_whom_and_for_a_protocol_also_how() {
        let (method, authority) = ((Pseudo::Method, "CONNECT"), GET[3]);
        let plain = fields(&[method, authority], &[]).into_request().unwrap();
        assert_eq!(plain.uri(), "www.example.com");
        assert!(
            fields(&[method, authority, GET[2]], &[])
                .into_request()
                .is_err()
        );
        let protocol = (Pseudo::Protocol, "websocket");
        let extended = [method, protocol, GET[1], GET[2], authority];
        let extended = fields(&extended, &[]).into_request().unwrap();
        assert_eq!(
            extended.extensions().get::<Protocol>().unwrap().as_str(),
            "websocket"
        );
        assert!(
            fields(&[GET[0], protocol, GET[1], GET[2]], &[])
                .into_request()
                .is_err()
        );
    }

    #[test]
    fn what_is_too_large_is_told_apart_from_what_is_wrong() {
        let mut large = Fields::new(100, 100);
        (0..3).for_each(|_| large.take(Field::Wrong(Name::Wrong(8), 12)));
        assert!(matches!(large.into_request(), Err(NoMessage::Malformed(_))));
        let mut large = Fields::new(100, 100);
        large.take(Field::Wrong(Name::Wrong(8), 82));
        assert_eq!(large.into_trailers().unwrap_err(), NoMessage::TooLarge);
        let mut many = Fields::new(1, 1_000);
        for name in ["a", "b"] {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(""));
            many.take(Field::Regular(name, value));
        }
        assert_eq!(many.into_trailers().unwrap_err(), NoMessage::TooLarge);
    }

    #[test]
    fn a_length_is_digits() {
        let told = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(value));
            told_length(&headers)
        };
        assert_eq!(told("10"), Ok(Some(10)));
        assert_eq!(told_length(&HeaderMap::new()), Ok(None));
        for wrong in ["", "+1", "-1", "0x1", "1 ", "1, 1", "99999999999999999999"] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }
}

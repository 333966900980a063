//! HTTP/2 of clients that is none.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop loudly"
)]

mod support;

use support::Origin;
use support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Fate, Fields, FrameClient, HEADERS, PING,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, edge, frame, in_frames, open,
    request,
};

/// A change to a good request.
enum Twist {
    /// Another field behind the others.
    With(&'static [u8], &'static [u8]),
    /// Another field before the others.
    First(&'static str, &'static str),
    /// A pseudo-header has this value.
    Set(&'static str, &'static [u8]),
    /// A pseudo-header is missing.
    Without(&'static str),
}

fn twisted(twist: &Twist) -> Fields {
    let mut fields = request("GET", "/bad");
    match twist {
        Twist::With(name, value) => fields.push((name.to_vec(), value.to_vec())),
        Twist::First(name, value) => fields.insert(0, ((*name).into(), (*value).into())),
        Twist::Set(name, value) => {
            let field = fields
                .iter_mut()
                .find(|(given, _)| given == name.as_bytes());
            field.unwrap().1 = value.to_vec();
        }
        Twist::Without(name) => fields.retain(|(given, _)| given != name.as_bytes()),
    }
    fields
}

const TWISTS: &[Twist] = &[
    // RFC 9113 §8.2.1: names.
    Twist::With(b"X-Upper", b"a"),
    Twist::With(b"transfer-Encoding", b"chunked"),
    Twist::With(b"x y", b"a"),
    Twist::With(b"x:y", b"a"),
    Twist::With(b"x\r\ny", b"a"),
    Twist::With(b"x\0", b"a"),
    Twist::With(b"x\xe4", b"a"),
    Twist::With(b"", b"a"),
    // Values.
    Twist::With(b"x", b"a\r\nTransfer-Encoding: chunked"),
    Twist::With(b"x", b"a\nb"),
    Twist::With(b"x", b"a\rb"),
    Twist::With(b"x", b"a\0b"),
    Twist::With(b"x", b"a\x7fb"),
    Twist::With(b"x", b" a"),
    Twist::With(b"x", b"a\t"),
    // RFC 9113 §8.2.2: fields of a connection.
    Twist::With(b"connection", b"close"),
    Twist::With(b"connection", b"x-forwarded-for"),
    Twist::With(b"transfer-encoding", b"chunked"),
    Twist::With(b"upgrade", b"websocket"),
    Twist::With(b"keep-alive", b"timeout=5"),
    Twist::With(b"proxy-connection", b"keep-alive"),
    Twist::With(b"te", b"gzip"),
    Twist::With(b"te", b"trailers, chunked"),
    // RFC 9113 §8.3: pseudo-headers.
    Twist::Without(":method"),
    Twist::Without(":scheme"),
    Twist::Without(":path"),
    Twist::Without(":authority"),
    Twist::With(b":method", b"POST"),
    Twist::With(b":path", b"/other"),
    Twist::With(b":authority", b"other.example.com"),
    Twist::With(b":scheme", b"http"),
    Twist::With(b":status", b"200"),
    Twist::With(b":protocol", b"websocket"),
    Twist::With(b":unknown", b"a"),
    Twist::With(b":", b"a"),
    Twist::First("x", "a regular field first"),
    Twist::Set(":method", b""),
    Twist::Set(":method", b"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    Twist::Set(":method", b"G T"),
    Twist::Set(":path", b""),
    Twist::Set(":path", b"bad"),
    Twist::Set(":path", b"*"),
    Twist::Set(":path", b"/bad HTTP/1.1"),
    Twist::Set(":path", b"/bad\r\nX: a"),
    Twist::Set(":path", b"/bad\0"),
    Twist::Set(":authority", b""),
    Twist::Set(":authority", b"user@www.example.com"),
    Twist::Set(":authority", b"www.example.com/bad"),
    Twist::Set(":authority", b"www.example.com\r\nX: a"),
    Twist::Set(":authority", b"www.example.com other"),
    Twist::Set(":scheme", b"https://www.example.com/?"),
    Twist::Set(":scheme", b"ht tp"),
    // RFC 9113 §8.3.1: Host beside `:authority`.
    Twist::With(b"host", b"other.example.com"),
    Twist::With(b"host", b""),
    // RFC 9113 §8.1.1: a length that there is not.
    Twist::With(b"content-length", b"3"),
    Twist::With(b"content-length", b"+0"),
    Twist::With(b"content-length", b"0x0"),
    Twist::With(b"content-length", b"99999999999999999999"),
    Twist::With(b"content-length", b"9223372036854775808"),
];

#[test]
fn a_malformed_request_costs_its_stream_and_the_origin_sees_nothing_of_it() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    let mut faults = Vec::new();
    for twist in TWISTS {
        let fields = twisted(twist);
        let mut client = FrameClient::connect(edge.address("https"));
        client.send(&open(1, &fields, END_STREAM)).unwrap();
        let fate = client.fate(1);
        if fate != Fate::Gone {
            client
                .send(&open(3, &request("GET", "/good"), END_STREAM))
                .unwrap();
            let next = client.fate(3);
            if next != Fate::Answered(200) {
                faults.push(format!("{next:?} behind {}", show(&fields)));
            }
        }
        if !matches!(fate, Fate::Reset | Fate::Gone | Fate::Answered(400)) {
            faults.push(format!("{fate:?} of {}", show(&fields)));
        }
    }
    let bad = origin.seen().into_iter().filter(|seen| seen.uri != "/good");
    faults.extend(bad.map(|seen| format!("{seen:?}")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn show(fields: &Fields) -> String {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let shown = fields
        .iter()
        .map(|(name, value)| format!("{}: {}", text(name), text(value)));
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn odd_requests_that_are_right_reach_the_origin() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    let with = |name: &str, value: &[u8]| {
        let mut fields = request("GET", "/good");
        fields.push((name.into(), value.into()));
        fields
    };
    let same_host = with("host", b"www.EXAMPLE.com");
    let mut by_host = with("host", b"www.example.com");
    by_host.retain(|(name, _)| name != b":authority");
    for fields in [
        request("OPTIONS", "*"),
        request("GET", "/good?a=b"),
        request("BREW", "/good"),
        with("te", b"trailers"),
        with("x", b"\xe4 \t b"),
        with("x", b""),
        with("content-length", b"0"),
        same_host,
        by_host,
    ] {
        let mut client = FrameClient::connect(edge.address("https"));
        client.send(&open(1, &fields, END_STREAM)).unwrap();
        assert_eq!(client.fate(1), Fate::Answered(200), "{}", show(&fields));
    }
    assert_eq!(origin.seen().len(), 9);
}

/// Requests whose bodies or trailers are not what they say.
fn broken_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let announced = |length: &[&str]| {
        let mut fields = request("POST", "/bad");
        fields.extend(
            length
                .iter()
                .map(|length| ("content-length".into(), (*length).into())),
        );
        open(1, &fields, 0)
    };
    let data = |text: &[u8]| frame(DATA, END_STREAM, 1, text);
    let mut trailers = vec![(b"Upper".to_vec(), b"a".to_vec())];
    let upper_trailer = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&trailers));
    trailers[0] = (b"x".to_vec(), b"a\r\nb".to_vec());
    let split_trailer = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&trailers));
    let rest_without_end = [
        frame(DATA, 0, 1, b"abc"),
        frame(HEADERS, END_HEADERS, 1, &block(&trailers[..0])),
    ];
    vec![
        ("over", [announced(&["3"]), data(b"abcd")].concat()),
        ("under", [announced(&["3"]), data(b"ab")].concat()),
        ("nothing of three", [announced(&["3"]), data(b"")].concat()),
        (
            "something of nothing",
            [announced(&["0"]), data(b"a")].concat(),
        ),
        (
            "two lengths",
            [announced(&["3", "3"]), data(b"abc")].concat(),
        ),
        (
            "two that differ",
            [announced(&["3", "4"]), data(b"abc")].concat(),
        ),
        (
            "a name in upper case in trailers",
            [announced(&[]), upper_trailer].concat(),
        ),
        (
            "a line break in trailers",
            [announced(&[]), split_trailer].concat(),
        ),
        (
            "trailers that end nothing",
            [announced(&[]), rest_without_end.concat()].concat(),
        ),
    ]
}

#[test]
fn a_body_of_another_length_than_it_says_never_reaches_the_origin_whole() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    for (name, bytes) in broken_bodies() {
        let mut client = FrameClient::connect(edge.address("https"));
        client.send(&bytes).unwrap();
        let fate = client.fate(1);
        assert!(
            matches!(fate, Fate::Reset | Fate::Gone | Fate::Answered(400)),
            "{name}: {fate:?}"
        );
    }
    assert!(
        origin.seen().iter().all(|seen| seen.body.is_empty()),
        "{:?}",
        origin.seen()
    );
}

/// What no connection survives.
fn broken_connections() -> Vec<(&'static str, Vec<u8>)> {
    let fields = block(&request("GET", "/bad"));
    vec![
        ("DATA on no stream", frame(DATA, 0, 0, b"a")),
        (
            "DATA on a stream that was never opened",
            frame(DATA, 0, 1, b"a"),
        ),
        (
            "HEADERS on no stream",
            frame(HEADERS, END_HEADERS, 0, &fields),
        ),
        (
            "HEADERS on a stream of the server's",
            frame(HEADERS, END_HEADERS, 2, &fields),
        ),
        (
            "PUSH_PROMISE of a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        ),
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &fields),
        ),
        (
            "another frame within a head",
            [frame(HEADERS, 0, 1, &fields), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "a head that goes on on another stream",
            [
                frame(HEADERS, 0, 1, &fields),
                frame(CONTINUATION, END_HEADERS, 3, &[]),
            ]
            .concat(),
        ),
        ("a PING of seven bytes", frame(PING, 0, 0, &[0; 7])),
        ("a PING on a stream", frame(PING, 0, 1, &[0; 8])),
        ("SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        (
            "an acknowledgement that says something",
            frame(SETTINGS, ACK, 0, &[0; 6]),
        ),
        (
            "a window of more than 2^31",
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("no window at all", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        (
            "a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
        ),
        ("a frame that is too long", frame(DATA, 0, 1, &[0; 16_385])),
        (
            "a reset of a stream that was never opened",
            frame(RST_STREAM, 0, 1, &[0; 4]),
        ),
        ("padding that is longer than its frame", {
            let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM | 8, 1, &fields);
            bytes[9] = 255;
            bytes
        }),
        (
            "a head that no table explains",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0xff]),
        ),
    ]
}

#[test]
fn frames_that_break_the_connection_end_it() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    for (name, bytes) in broken_connections() {
        let mut client = FrameClient::connect(edge.address("https"));
        let _ = client.send(&bytes);
        assert_eq!(client.fate(1), Fate::Gone, "{name}");
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

#[test]
fn pseudo_headers_among_trailers_cost_their_request() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    for pseudo in [":path", ":method", ":authority", ":scheme"] {
        let mut client = FrameClient::connect(edge.address("https"));
        let trailers = block(&[(pseudo, "evil.example"), ("x-sum", "1")]);
        let all = [
            open(1, &request("POST", "/bad"), 0),
            frame(DATA, 0, 1, b"abc"),
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers),
        ];
        client.send(&all.concat()).unwrap();
        assert_eq!(client.fate(1), Fate::Reset, "{pseudo}");
    }
    let whole = |seen: &support::Seen| seen.body == "abc";
    assert!(!origin.seen().iter().any(whole), "{:?}", origin.seen());
}

/// A status that is not among those of RFC 7541 appendix A.
const OTHER: u16 = 0;

#[test]
fn trailers_that_are_too_long_are_a_431_and_never_cut_short_and_blanks_around_a_value_a_400() {
    let origin = Origin::start("o");
    let edge = edge(&origin.url());
    let (short, long) = ("a".repeat(60_000), "a".repeat(70_000));
    let beyond_all = "a".repeat(300_000);
    let few = |value: &str| block(&[("x-long", value), ("x-sum", "1")]);
    let many = |count| block(&vec![("x-sum", "1"); count]);
    for (trailers, expected) in [
        (few(&short), 200),
        (few(&long), OTHER),
        (few(&beyond_all), OTHER),
        (block(&[("x-sum", "1"), ("x-long", &beyond_all)]), OTHER),
        (many(256), 200),
        (many(257), OTHER),
        (many(7_000), OTHER),
        (block(&[("x-sum", " 1")]), 400),
        (block(&[("x-sum", "1\t")]), 400),
    ] {
        let mut client = FrameClient::connect(edge.address("https"));
        let mut fields = request("POST", "/good");
        fields.push((b"te".to_vec(), b"trailers".to_vec()));
        let head = open(1, &fields, 0);
        let all = [head, frame(DATA, 0, 1, b"abc"), in_frames(1, &trailers)];
        client.send(&all.concat()).unwrap();
        let length = trailers.len();
        assert_eq!(client.fate(1), Fate::Answered(expected), "{length} bytes");
    }
    let refused = edge.counted("meridian_http_problems_total", &["headers-too-large"]);
    assert_eq!(refused, 5);
}

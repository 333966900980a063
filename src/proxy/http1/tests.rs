use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::body::Whole;
use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A connection, and its origin's end.
fn connected() -> (Http1, DuplexStream) {
    let (origin, edge) = duplex(64 << 10);
    (Http1::new(edge), origin)
}

async fn ask_with(
    http1: Http1,
    method: Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Reading>, Unanswered> {
    let head = RequestHead {
        method: &method,
        path: &PathAndQuery::from_static("/a?b"),
        authority: "www.example.com",
        headers,
    };
    http1.ask(&head, body, |_| {}).await
}

async fn ask(http1: Http1, body: Body) -> Result<Response<Reading>, Unanswered> {
    ask_with(http1, Method::POST, &HeaderMap::new(), body).await
}

/// What the origin has been sent so far.
async fn sent(origin: &mut DuplexStream) -> String {
    let mut bytes = vec![0; 64 << 10];
    let length = origin.read(&mut bytes).await.unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// The whole body of an answer, and its connection if that is free.
async fn read(mut reading: Reading) -> (String, Option<Http1>) {
    let mut text = Vec::new();
    while let Some(frame) = reading.frame().await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default());
    }
    (String::from_utf8(text).unwrap(), reading.take_connection())
}

#[tokio::test]
async fn a_closed_connection_is_not_quiet_however_much_its_task_has_read() {
    let (mut http1, origin) = connected();
    drop(origin);
    let (mut busy, mut sender) = duplex(1 << 10);
    sender.write_all(&[7; 1 << 10]).await.unwrap();
    let is_quiet = poll_fn(|cx| {
        let mut byte = [0];
        // Until tokio has the task wait for its next turn: there is more.
        while Pin::new(&mut busy)
            .poll_read(cx, &mut ReadBuf::new(&mut byte))
            .is_ready()
        {}
        Poll::Ready(http1.is_quiet())
    });
    assert!(!is_quiet.await);
    assert_eq!(busy.read_u8().await.unwrap(), 7);
}

/// A body in two frames and trailers, of unknown length.
fn chunks() -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("sum", HeaderValue::from_static("7"));
    trailers.insert("content-length", HeaderValue::from_static("9"));
    Body::Whole(Whole::with_trailers("0123456789abcdef", trailers))
}

#[tokio::test]
async fn a_request_is_written_with_its_authority_and_the_length_of_its_body() {
    let (http1, mut origin) = connected();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("other.example"));
    headers.insert("content-length", HeaderValue::from_static("999"));
    headers.insert("x-a", HeaderValue::from_static("1"));
    origin.write_all(OK).await.unwrap();
    let answer = ask_with(http1, Method::PUT, &headers, Body::made("hello")).await;
    assert_eq!(answer.ok().unwrap().status(), StatusCode::OK);
    assert_eq!(
        sent(&mut origin).await,
        "PUT /a?b HTTP/1.1\r\nhost: www.example.com\r\nx-a: 1\r\ncontent-length: 5\r\n\r\nhello"
    );
}

#[tokio::test]
async fn an_empty_body_has_a_length_only_if_its_client_said_so() {
    for (told, expected) in [(None, ""), (Some("0"), "content-length: 0\r\n")] {
        let (http1, mut origin) = connected();
        let mut headers = HeaderMap::new();
        headers.extend(told.map(|told| (CONTENT_LENGTH, HeaderValue::from_static(told))));
        origin.write_all(OK).await.unwrap();
        ask_with(http1, Method::POST, &headers, Body::Empty)
            .await
            .ok()
            .unwrap();
        let head = format!("POST /a?b HTTP/1.1\r\nhost: www.example.com\r\n{expected}\r\n");
        assert_eq!(sent(&mut origin).await, head);
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_goes_in_chunks_with_its_trailers() {
    let (http1, mut origin) = connected();
    origin.write_all(OK).await.unwrap();
    ask(http1, chunks()).await.ok().unwrap();
    assert_eq!(
        sent(&mut origin).await,
        "POST /a?b HTTP/1.1\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n\
         10\r\n0123456789abcdef\r\n0\r\nsum: 7\r\n\r\n"
    );
}

/// What can be taken at once of an answer that has come so far, and whether its connection is free then.
async fn taken(come: &[u8]) -> (Option<Bytes>, bool) {
    let (http1, mut origin) = connected();
    origin.write_all(come).await.unwrap();
    let answer = ask(http1, Body::Empty).await.ok().unwrap();
    let mut reading = answer.into_body();
    let whole = reading.take_whole();
    (whole, reading.take_connection().is_some())
}

#[tokio::test]
async fn an_answer_that_has_come_with_its_head_is_taken_whole_and_frees_its_connection() {
    assert_eq!(taken(OK).await, (Some(Bytes::from_static(b"ok")), true));
}

#[tokio::test]
async fn what_has_not_come_whole_or_has_no_length_is_read_as_it_comes() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    ];
    for come in answers {
        let said = String::from_utf8_lossy(come);
        assert_eq!(taken(come).await, (None, false), "{said}");
    }
}

#[tokio::test]
async fn an_answer_with_more_behind_it_is_whole_and_the_last_of_its_connection() {
    let more = [OK, b"HTTP/1.1 200 OK\r\n"].concat();
    assert_eq!(taken(&more).await, (Some(Bytes::from_static(b"ok")), false));
}

#[tokio::test]
async fn a_connection_is_free_again_when_its_answer_has_been_read() {
    let (mut http1, mut origin) = connected();
    for _ in 0..3 {
        assert!(http1.is_quiet());
        origin.write_all(OK).await.unwrap();
        let answer = ask(http1, Body::Empty).await.ok().unwrap();
        let (body, free) = read(answer.into_body()).await;
        assert_eq!(body, "ok");
        http1 = free.unwrap();
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_its_last_answer_or_one_that_said_too_much() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
    ] {
        let (http1, mut origin) = connected();
        origin.write_all(answer.as_bytes()).await.unwrap();
        let answer = ask(http1, Body::Empty).await.ok().unwrap();
        let (body, free) = read(answer.into_body()).await;
        assert_eq!((body.as_str(), free.is_none()), ("ok", true));
    }
}

#[tokio::test]
async fn what_comes_before_a_request_is_sent_is_nobody_s_answer() {
    let (mut http1, mut origin) = connected();
    assert!(http1.is_quiet());
    origin.write_all(OK).await.unwrap();
    assert!(!http1.is_quiet());
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_not_quiet() {
    let (mut http1, origin) = connected();
    drop(origin);
    assert!(!http1.is_quiet());
}

#[tokio::test]
async fn a_request_of_which_nothing_was_sent_comes_back_with_its_body() {
    let (http1, origin) = connected();
    drop(origin);
    let Err(Unanswered::Unsent(_, body)) = ask(http1, Body::made("hello")).await else {
        panic!("it was sent");
    };
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn an_origin_that_answers_and_closes_before_it_has_the_request_is_heard() {
    let (mut origin, edge) = duplex(64);
    let asking = tokio::spawn(ask(Http1::new(edge), Body::made(vec![b'x'; 1000])));
    let mut begun = [0; 4];
    origin.read_exact(&mut begun).await.unwrap();
    origin.write_all(OK).await.unwrap();
    drop(origin);
    let answer = asking.await.unwrap().ok().unwrap();
    let (body, free) = read(answer.into_body()).await;
    assert_eq!((body.as_str(), free.is_none()), ("ok", true));
}

#[tokio::test]
async fn a_head_is_an_answer_only_if_the_body_beside_it_is_one() {
    let (http1, mut origin) = connected();
    let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    origin.write_all(text).await.unwrap();
    let answer = ask(http1, Body::Empty).await;
    assert!(matches!(answer, Err(Unanswered::Malformed(_))));
}

#[tokio::test]
async fn what_came_well_of_a_body_is_read_before_it_breaks_off() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "ok"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "ok",
        ),
    ] {
        let (http1, mut origin) = connected();
        origin.write_all(text.as_bytes()).await.unwrap();
        let mut reading = ask(http1, Body::Empty).await.ok().unwrap().into_body();
        drop(origin);
        let data = reading.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, expected);
        assert!(matches!(
            reading.frame().await,
            Some(Err(BodyError::Broken(_)))
        ));
        assert!(reading.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    let (http1, mut origin) = connected();
    origin
        .write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        .await
        .unwrap();
    let answer = ask(http1, Body::Empty).await.ok().unwrap();
    drop(origin);
    let (body, free) = read(answer.into_body()).await;
    assert_eq!((body.as_str(), free.is_none()), ("to the end", true));
}

#[tokio::test]
async fn interim_answers_are_heard_and_trailers_read() {
    let (http1, mut origin) = connected();
    let text = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
                HTTP/1.1 200 Fine\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nsum: 7\r\n\r\n";
    origin.write_all(text.as_bytes()).await.unwrap();
    let (headers, heard) = (HeaderMap::new(), Mutex::new(Vec::new()));
    let head = RequestHead {
        method: &Method::GET,
        path: &PathAndQuery::from_static("/"),
        authority: "a",
        headers: &headers,
    };
    let hear = |said: &Head| heard.lock().unwrap().push(said.status.as_u16());
    let answer = http1.ask(&head, Body::Empty, hear).await.ok().unwrap();
    let reason = answer.extensions().get::<ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"Fine");
    let collected = answer.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["sum"], "7");
    assert_eq!(collected.to_bytes(), "ok");
    assert_eq!(*heard.lock().unwrap(), [103]);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_request_is_sent_while_its_answer_waits_to_be_read() {
    let (origin, edge) = duplex(16);
    let (mut from_edge, mut to_edge) = tokio::io::split(origin);
    let body = Bytes::from(vec![b'x'; 10_000]);
    let receiving = tokio::spawn(async move {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"x".repeat(10_000).as_slice()) {
            from_edge.read_buf(&mut bytes).await.unwrap();
            if bytes.len() == 40 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let answering = tokio::spawn(async move { to_edge.write_all(OK).await });
    let answer = ask(Http1::new(edge), Body::made(body)).await.ok().unwrap();
    answering.await.unwrap().unwrap();
    receiving.await.unwrap();
    let (body, free) = read(answer.into_body()).await;
    assert_eq!((body.as_str(), free.is_none()), ("ok", true));
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_its_client_said_is_never_taken_for_whole() {
    let mut headers = HeaderMap::new();
    headers.insert("content-length", HeaderValue::from_static("17"));
    let (http1, mut origin) = connected();
    origin.write_all(OK).await.unwrap();
    let answer = ask_with(http1, Method::PUT, &headers, chunks()).await;
    assert!(matches!(
        answer,
        Err(Unanswered::Client(BodyError::Broken(_)))
    ));
}

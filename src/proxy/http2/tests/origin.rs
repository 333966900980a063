use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::super::{Http2, Receiving, Unanswered};
use super::by_hand::{
    ACK, ByHand, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use super::{HINT, IDLE, over_the_bound, read, to, unhurried};
use crate::http2::MOST_AT_FIRST;
use crate::proxy::body::{Arriving, Body, DISCARD, Source};
use crate::proxy::http1::{Http1, RequestHead};

/// A connection to an origin that does as told.
async fn origin<F>(script: impl FnOnce(h2::server::Connection<DuplexStream, Bytes>) -> F) -> Http2
where
    F: Future<Output = ()> + Send + 'static,
{
    let (edge, origin) = duplex(1 << 20);
    let http2 = Http2::open(edge);
    let connection = h2::server::handshake(origin).await.unwrap();
    tokio::spawn(script(connection));
    http2
}

fn post(body: Body) -> Request<Body> {
    let mut request = to("/").map(|()| body);
    *request.method_mut() = Method::POST;
    request
}

async fn collected(answer: Response<Receiving>) -> Result<Bytes, String> {
    let body = answer.into_body().collect().await;
    body.map(|body| body.to_bytes())
        .map_err(|error| error.to_string())
}

fn status(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_an_origin_says_before_its_answer_is_heard() {
    let http2 = origin(|mut connection| async move {
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_informational(status(HINT)).unwrap();
        respond.send_response(status(204), true).unwrap();
        connection.accept().await;
    });
    let heard = Mutex::new(Vec::new());
    let answer = http2.await.place().unwrap().ask(post(Body::Empty), |said| {
        heard.lock().unwrap().push(said.status())
    });
    assert_eq!(answer.await.ok().unwrap().status(), 204);
    assert_eq!(heard.into_inner().unwrap(), [HINT]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_trailers_are_too_long_or_malformed_breaks_off_and_is_never_cut_short() {
    let of = |count: usize, length: usize| {
        let mut trailers = HeaderMap::new();
        for number in 0..count {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            trailers.insert(name, "a".repeat(length).parse().unwrap());
        }
        trailers
    };
    let blank =
        HeaderMap::from_iter([(HeaderName::from_static("x"), HeaderValue::from_static(" 1"))]);
    for (trailers, is_whole) in [
        (blank, false),
        (of(1, 60_000), true),
        (of(1, 70_000), false),
        (of(1, 300_000), false),
        (of(2, 150_000), false),
        (of(256, 10), true),
        (of(257, 10), false),
        (of(7_000, 10), false),
    ] {
        let http2 = origin(|mut connection| async move {
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let mut answer = respond.send_response(status(200), false).unwrap();
            answer.send_trailers(trailers).unwrap();
            connection.accept().await;
        });
        let place = http2.await.place().unwrap();
        let answer = place.ask(post(Body::Empty), |_| {}).await.ok().unwrap();
        let body = answer.into_body().collect().await;
        match body {
            Ok(body) => assert!(is_whole && body.trailers().is_some()),
            Err(error) => {
                let error = error.to_string();
                let is_why = error.contains("trailers") || error.contains("blank");
                assert!(!is_whole && is_why, "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_interim_answer_with_blanks_around_a_value_is_malformed() {
    let http2 = origin(|mut connection| async move {
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut hint = status(HINT);
        let blank = HeaderValue::from_static("</a> ");
        hint.headers_mut().insert("link", blank);
        respond.send_informational(hint).unwrap();
        connection.accept().await;
    });
    let place = http2.await.place().unwrap();
    let answer = place.ask(post(Body::Empty), |_| {}).await;
    assert!(matches!(answer, Err(Unanswered::Malformed(_))));
}

#[tokio::test(start_paused = true)]
async fn interim_answers_without_end_are_no_answer() {
    let http2 = origin(|mut connection| async move {
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        for _ in 0..17 {
            respond.send_informational(status(HINT)).unwrap();
        }
        connection.accept().await;
    });
    let answer = http2
        .await
        .place()
        .unwrap()
        .ask(post(Body::Empty), |_| {})
        .await;
    assert!(matches!(answer, Err(Unanswered::Broken(why)) if why.is_wrong()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_whole_if_all_that_was_told_has_come_however_its_stream_ends() {
    let ends = [
        (Reason::NO_ERROR, None, false),
        (Reason::NO_ERROR, Some("4"), true),
        (Reason::NO_ERROR, Some("5"), false),
        (Reason::CANCEL, Some("4"), true),
        (Reason::CANCEL, None, false),
    ];
    for (reason, length, is_whole) in ends {
        let http2 = origin(move |mut connection| async move {
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let mut head = status(200);
            if let Some(length) = length {
                head.headers_mut()
                    .insert(CONTENT_LENGTH, length.parse().unwrap());
            }
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data("some".into(), false).unwrap();
            tokio::spawn(async move {
                sleep(Duration::from_secs(1)).await;
                body.send_reset(reason);
            });
            connection.accept().await;
        });
        let answer = http2
            .await
            .place()
            .unwrap()
            .ask(post(Body::Empty), |_| {})
            .await
            .ok()
            .unwrap();
        let read = collected(answer).await;
        assert_eq!(read.is_ok(), is_whole, "{reason:?} {length:?}: {read:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_request_is_sent_on_when_its_answer_begins_early() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let http2 = origin(|mut connection| async move {
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut answer = respond.send_response(status(200), false).unwrap();
        let mut body = request.into_body();
        let reading = async {
            let length = read(&mut body).await.unwrap().len();
            answer.send_data("done".into(), true).unwrap();
            tell.send(length).unwrap();
        };
        tokio::join!(reading, connection.accept());
    });
    let large = Body::made(vec![7; 1 << 20]);
    let answer = http2
        .await
        .place()
        .unwrap()
        .ask(post(large), |_| {})
        .await
        .ok()
        .unwrap();
    assert_eq!(collected(answer).await.unwrap(), "done");
    assert_eq!(told.await.unwrap(), 1 << 20);
}

/// A body that goes on and on.
async fn endless() -> Body {
    let (mut sender, edge) = duplex(1 << 10);
    tokio::spawn(async move {
        sender.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while sender.write_all(&[7; 64]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let head = RequestHead {
        method: &Method::GET,
        path: &PathAndQuery::from_static("/"),
        authority: "www.example.com",
        headers: &HeaderMap::new(),
    };
    let source = Http1::new(edge).ask(&head, Body::Empty, |_| {}).await;
    let source = Source::Http1(source.ok().unwrap().into_body());
    Body::streamed(Arriving::response(source), 0, unhurried(), None)
}

#[tokio::test(start_paused = true)]
async fn over_http1_too_an_upload_goes_on_for_a_while_behind_a_whole_answer() {
    for (origin_reads, answer_is_read) in [(true, true), (false, true), (false, false)] {
        let (mut origin, edge) = duplex(1 << 10);
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        origin.write_all(answer.as_bytes()).await.unwrap();
        let head = RequestHead {
            method: &Method::POST,
            path: &PathAndQuery::from_static("/"),
            authority: "www.example.com",
            headers: &HeaderMap::new(),
        };
        let asking = Http1::new(edge).ask(&head, endless().await, |_| {}).await;
        let mut answer = asking.ok().unwrap().into_body();
        let began = Instant::now();
        if answer_is_read {
            assert_eq!(
                answer.frame().await.unwrap().unwrap().into_data().unwrap(),
                "no"
            );
        } else {
            drop(answer);
        }
        if !origin_reads {
            sleep(DISCARD * 2).await;
        }
        let mut rest = Vec::new();
        let reading = origin.read_to_end(&mut rest);
        tokio::time::timeout(IDLE, reading).await.unwrap().unwrap();
        assert!(rest.len() < 10_000, "{}", rest.len());
        let ends_after = if origin_reads { DISCARD } else { DISCARD * 2 };
        assert_eq!(began.elapsed(), ends_after);
    }
}

/// The answer to an upload without end; its origin tells when that was reset.
async fn answered_early(
    says: fn(SendStream<Bytes>) -> Option<SendStream<Bytes>>,
) -> (Response<Receiving>, oneshot::Receiver<Instant>) {
    let (tell, told) = oneshot::channel();
    let http2 = origin(move |mut connection| async move {
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let _open = says(respond.send_response(status(200), false).unwrap());
        let mut body = request.into_body();
        let reading = async {
            read(&mut body).await.unwrap_err();
            tell.send(Instant::now()).unwrap();
        };
        tokio::join!(reading, connection.accept());
    });
    let place = http2.await.place().unwrap();
    let answer = place.ask(post(endless().await), |_| {}).await;
    (answer.ok().unwrap(), told)
}

#[tokio::test(start_paused = true)]
async fn an_upload_ends_when_nobody_reads_its_answer_any_more() {
    let (answer, told) = answered_early(Some).await;
    sleep(IDLE).await;
    let began = Instant::now();
    drop(answer);
    assert_eq!(told.await.unwrap(), began);
}

#[tokio::test(start_paused = true)]
async fn an_upload_goes_on_for_a_while_behind_a_whole_answer() {
    let (answer, told) = answered_early(|mut body| {
        body.send_data("ok".into(), true).unwrap();
        None
    })
    .await;
    let began = Instant::now();
    assert_eq!(collected(answer).await.unwrap(), "ok");
    assert_eq!(told.await.unwrap() - began, DISCARD);
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_head_is_over_256_kib_is_none() {
    let http2 = origin(|mut connection| async move {
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut head = status(200);
        head.headers_mut().insert("large", over_the_bound());
        respond.send_response(head, true).unwrap();
        connection.accept().await;
    });
    let place = http2.await.place().unwrap();
    let answer = place.ask(post(Body::Empty), |_| {}).await;
    assert!(matches!(answer, Err(Unanswered::Broken(_))));
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_begun_than_an_origin_takes() {
    let (edge, origin) = duplex(1 << 20);
    let mut builder = h2::server::Builder::new();
    let shaking_hands = builder
        .max_concurrent_streams(2)
        .handshake::<_, Bytes>(origin);
    let http2 = Http2::open(edge);
    let unheard: Vec<_> = std::iter::from_fn(|| http2.place()).collect();
    assert_eq!(unheard.len(), MOST_AT_FIRST);
    drop(unheard);
    let mut connection = shaking_hands.await.unwrap();
    tokio::spawn(async move { connection.accept().await.is_some() });
    sleep(Duration::from_secs(1)).await;
    let mut heard: Vec<_> = std::iter::from_fn(|| http2.place()).collect();
    assert_eq!(heard.len(), 2);
    heard.pop();
    assert!(http2.place().is_some(), "there is room for one again");
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_takes_nothing_and_gives_the_body_back() {
    let http2 = origin(|connection| async move { drop(connection) }).await;
    sleep(Duration::from_secs(1)).await;
    assert!(http2.is_closed());
    match http2
        .place()
        .unwrap()
        .ask(post(Body::made("mine")), |_| {})
        .await
    {
        Err(Unanswered::Unsent(_, body)) => {
            assert_eq!(body.collect().await.unwrap().to_bytes(), "mine");
        }
        _ => panic!("it was sent"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_does_not_answer_a_ping_is_gone() {
    let (http2, mut origin) = origin_by_hand().await;
    let _answers = begun(&http2, &mut origin, 1).await;
    let began = Instant::now();
    while !http2.is_closed() {
        sleep(Duration::from_secs(1)).await;
    }
    assert!(
        (40..=62).contains(&began.elapsed().as_secs()),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn who_answers_pings_and_says_nothing_is_asked_rarely_and_who_is_idle_never() {
    let (http2, mut origin) = origin_by_hand().await;
    // No moment at which it is looked at.
    let hour = Duration::from_secs(3_605);
    let said = tokio::time::timeout(hour, origin.hear_any()).await;
    assert!(said.is_err(), "{said:?}");
    let _answers = begun(&http2, &mut origin, 1).await;
    let mut last = Instant::now();
    for gap in [20..=40, 300..=400, 300..=400] {
        origin.hear(PING, 1).await;
        assert!(
            gap.contains(&last.elapsed().as_secs()),
            "{:?}",
            last.elapsed()
        );
        origin.say(PING, ACK, 0, &[0; 8]).await;
        last = Instant::now();
    }
    // It has spoken: silence is new.
    sleep(Duration::from_secs(25)).await;
    origin.say(DATA, 0, 1, b"still here").await;
    last = Instant::now();
    origin.hear(PING, 1).await;
    assert!(
        (20..=40).contains(&last.elapsed().as_secs()),
        "{:?}",
        last.elapsed()
    );
    assert!(!http2.is_closed());
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_given_up_one_after_the_other_have_nobody_asked_more_often() {
    let (http2, mut origin) = origin_by_hand().await;
    let (mut asked, mut stream) = (0, 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(300) {
        let place = http2.place().unwrap();
        let call = tokio::spawn(async { place.ask(post(Body::Empty), |_| {}).await.is_ok() });
        let hearing = async {
            loop {
                if origin.hear_any().await.0 == PING {
                    origin.say(PING, ACK, 0, &[0; 8]).await;
                    asked += 1;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(25), hearing).await;
        call.abort();
        stream += 2;
    }
    assert!(asked <= 2 && stream > 20, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_settled_when_its_origin_says_so_or_ends_and_a_second_later_in_any_case() {
    for (says, after) in [(true, 0), (false, 0), (false, 1)] {
        let (edge, origin) = duplex(1 << 10);
        let mut origin = ByHand(origin);
        let place = Http2::open(edge).place().unwrap();
        let settled = tokio::spawn(place.settled());
        let began = Instant::now();
        if says {
            origin.say(SETTINGS, 0, 0, &[]).await;
        } else if after == 0 {
            drop(origin);
        } else {
            origin.hear_preface().await;
        }
        settled.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), after, "{says}");
    }
}

/// A connection to an origin whose frames are written by hand, and which takes a thousand requests at once.
async fn origin_by_hand() -> (Http2, ByHand) {
    let (edge, origin) = duplex(1 << 20);
    let mut origin = ByHand(origin);
    let most_streams = [0, 3, 0, 0, 3, 0xe8];
    origin.say(SETTINGS, 0, 0, &most_streams).await;
    let http2 = Http2::open(edge);
    origin.hear_preface().await;
    // Its own, and that it has heard of the other ones.
    origin.hear(SETTINGS, 2).await;
    (http2, origin)
}

/// `:status: 200` of HPACK's static table.
const OK: [u8; 1] = [0x88];

/// So many answers that have begun on one connection, in the order of their streams: 1, 3, 5.
async fn begun(http2: &Http2, origin: &mut ByHand, count: usize) -> Vec<Response<Receiving>> {
    let asked = (0..count).map(|_| {
        let place = http2.place().unwrap();
        async { place.ask(post(Body::Empty), |_| {}).await.ok().unwrap() }
    });
    let streams = (1..).step_by(2).take(count);
    let answering = async {
        origin.hear(HEADERS, count).await;
        for stream in streams {
            origin.say(HEADERS, END_HEADERS, stream, &OK).await;
        }
    };
    futures_util::join!(futures_util::future::join_all(asked), answering).0
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_breaks_off_nobody_else_however_much_is_on_its_way_to_it() {
    const GONE: usize = 300;
    let (http2, mut origin) = origin_by_hand().await;
    let mut answers = begun(&http2, &mut origin, GONE + 1).await;
    let stays = answers.remove(0);
    drop(answers);
    origin.hear(RST_STREAM, GONE).await;
    for _ in 0..10 {
        for stream in (3..).step_by(2).take(GONE) {
            origin.say(DATA, 0, stream, b"z").await;
        }
    }
    origin.say(DATA, END_STREAM, 1, b"all of it").await;
    assert_eq!(collected(stays).await.unwrap(), "all of it");
    assert!(!http2.is_closed());
}

#[tokio::test(start_paused = true)]
async fn frames_of_an_origin_that_bring_nothing_break_off_nobody() {
    let (http2, mut origin) = origin_by_hand().await;
    let mut answers = begun(&http2, &mut origin, 2).await;
    for _ in 0..300 {
        origin.say(DATA, 0, 1, b"").await;
    }
    origin.say(DATA, END_STREAM, 1, b"one").await;
    origin.say(DATA, 0, 3, b"").await;
    origin.say(DATA, END_STREAM, 3, b"").await;
    assert_eq!(collected(answers.remove(0)).await.unwrap(), "one");
    assert_eq!(collected(answers.remove(0)).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_does_not_finish_a_head_is_gone_after_a_minute() {
    let (http2, mut origin) = origin_by_hand().await;
    let began = Instant::now();
    let place = http2.place().unwrap();
    let asking = place.ask(post(Body::Empty), |_| {});
    let slowly = async {
        origin.hear(HEADERS, 1).await;
        origin.say(HEADERS, 0, 1, &OK).await;
        loop {
            sleep(Duration::from_secs(5)).await;
            // No number of these is a head.
            if origin.try_say(CONTINUATION, 0, 1, b"").await.is_err() {
                return;
            }
        }
    };
    let (answer, ()) = tokio::join!(asking, slowly);
    assert!(matches!(answer, Err(Unanswered::Broken(why)) if why.is_wrong()));
    assert!((60..=70).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_written_was_not_looked_at() {
    let (edge, origin) = duplex(1 << 20);
    let http2 = Http2::open(edge);
    let place = http2.place().unwrap();
    let asking = place.ask(post(Body::made("mine")), |_| {});
    drop(origin);
    assert!(matches!(asking.await, Err(Unanswered::Broken(why)) if why.is_left()));
}

#[tokio::test(start_paused = true)]
async fn an_origin_may_grant_an_upload_in_small_pieces() {
    const UPLOAD: u32 = 8 << 20;
    const PIECE: u32 = 512;
    let (http2, mut origin) = origin_by_hand().await;
    let upload = Body::made(vec![7; usize::try_from(UPLOAD).unwrap()]);
    let asking = http2.place().unwrap().ask(post(upload), |_| {});
    let taking = async {
        let (mut taken, mut granted) = (0, 0);
        while taken < UPLOAD {
            let (kind, length) = origin.hear_any().await;
            taken += if kind == DATA { length } else { 0 };
            while taken - granted >= PIECE {
                granted += PIECE;
                for stream in [0, 1] {
                    let piece = PIECE.to_be_bytes();
                    origin.say(WINDOW_UPDATE, 0, stream, &piece).await;
                }
            }
        }
        origin.say(HEADERS, END_HEADERS | END_STREAM, 1, &OK).await;
    };
    let (answer, ()) = tokio::join!(asking, taking);
    assert_eq!(answer.ok().unwrap().status(), 200);
}

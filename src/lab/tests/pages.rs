//! What a region answers, page by page.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_write_is_answered_with_its_position() {
    let bench = bench().await;
    let check = async |method: Method, status: u16, committed: &str| {
        let answer = bench
            .request(method.clone(), "us", "/kv/user/1")
            .body("v")
            .send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status, "{method} {committed}");
        assert_eq!(header(&answer, "meridian-committed"), committed);
        assert_eq!(
            header(&answer, "meridian-applied"),
            format!("us={committed}")
        );
    };
    check(Method::PUT, 201, "1").await;
    check(Method::POST, 200, "2").await;
    check(Method::DELETE, 200, "3").await;
    check(Method::DELETE, 200, "4").await;
    check(Method::POST, 201, "5").await;
}

#[tokio::test]
async fn a_read_tells_who_answers_and_who_wrote() {
    let bench = bench().await;
    bench.put("us", "key", "value").await;
    bench.applied("eu", "us=1").await;
    let answer = bench.get("eu", "/kv/key").await;
    assert_eq!(header(&answer, "meridian-applied"), "eu=0,us=1");
    assert_eq!(header(&answer, "meridian-committed"), "");
    let expected = serde_json::json!({
        "key": "key", "value": "value", "region": "eu", "written_by": "us", "seq": 1
    });
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn every_answer_reports_what_is_applied() {
    let bench = bench().await;
    let check = async |path: &str, status: u16| {
        let answer = bench.get("eu", path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(header(&answer, "meridian-applied"), "eu=0", "{path}");
    };
    check("/", 200).await;
    check("/health", 200).await;
    check("/echo", 200).await;
    check("/kv", 200).await;
    check("/slow?ms=0&chunks=1", 200).await;
    check("/kv/missing", 404).await;
    check("/nowhere", 404).await;
    check("/slow?ms=10001", 400).await;
    check("/slow?chunks=101", 400).await;
    check("/slow?ms=soon", 400).await;
}

#[tokio::test]
async fn a_reader_gets_what_it_requires_or_a_409() {
    let bench = bench().await;
    bench.lab.lag("eu", NEVER).unwrap();
    bench.put("us", "key", "value").await;
    let behind = bench.get_requiring("eu", "/kv/key", "us=1").await;
    assert_eq!(behind.status(), 409);
    assert_eq!(header(&behind, "meridian-applied"), "eu=0");
    assert_eq!(bench.get_requiring("eu", "/kv", "us=1").await.status(), 409);
    assert_eq!(
        bench.get_requiring("us", "/kv/key", "us=1").await.status(),
        200
    );
    bench.lab.lag("eu", Duration::ZERO).unwrap();
    bench.applied("eu", "us=1").await;
    assert_eq!(
        bench.get_requiring("eu", "/kv/key", "us=1").await.status(),
        200
    );
    assert_eq!(
        bench
            .get_requiring("eu", "/kv/key", "us=1,mars=1")
            .await
            .status(),
        409
    );
    assert_eq!(
        bench.get_requiring("eu", "/kv/key", "us=1,").await.status(),
        200
    );
    assert_eq!(
        bench
            .get_requiring("eu", "/kv/key", "nonsense")
            .await
            .status(),
        400
    );
}

#[tokio::test]
async fn a_region_may_let_a_reader_wait() {
    let bench = bench_with(|region| region.require_wait = NEVER).await;
    bench.lab.lag("eu", NEVER).unwrap();
    bench.put("us", "key", "value").await;
    let reader = bench.get_requiring("eu", "/kv/key", "us=1");
    let release = async {
        bench.applied("ap", "us=1").await;
        bench.lab.lag("eu", Duration::ZERO).unwrap();
    };
    let (answer, ()) = tokio::join!(reader, release);
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "meridian-applied"), "eu=0,us=1");
}

#[tokio::test]
async fn keys_and_values_are_taken_up_to_their_bounds() {
    let bench = bench().await;
    let check = async |key: &str, value: Vec<u8>, status: u16| {
        let request = bench.request(Method::PUT, "us", &format!("/kv/{key}"));
        let answer = request.body(value).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(
            answer.headers().contains_key("meridian-committed"),
            status < 300
        );
    };
    check("key", vec![b'x'; 64 * 1024], 201).await;
    check("key", vec![b'x'; 64 * 1024 + 1], 413).await;
    check(&"k".repeat(512), vec![], 201).await;
    check(&"k".repeat(513), vec![], 414).await;
    check("key", vec![0xff], 400).await;
}

#[tokio::test]
async fn members_and_counts_are_taken_up_to_their_bounds() {
    let bench = bench().await;
    let check = async |method: Method, path: &str, body: &str, status: u16| {
        let request = bench.request(method, "us", path).body(body.to_owned());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path} {body}");
        let committed = answer.headers().contains_key("meridian-committed");
        assert_eq!(committed, status < 300, "{path} {body}");
    };
    let member = |length: usize| format!("/sets/s/{}", "m".repeat(length));
    check(Method::PUT, &member(512), "", 201).await;
    check(Method::PUT, &member(513), "", 414).await;
    check(Method::DELETE, &member(513), "", 404).await;
    let long = |length: usize| format!("{}1", " ".repeat(length - 1));
    check(Method::POST, "/counters/c", &long(64), 201).await;
    check(Method::POST, "/counters/c", &long(65), 413).await;
    check(Method::POST, "/counters/c", "9223372036854775807", 200).await;
    check(Method::POST, "/counters/c", "9223372036854775808", 400).await;
    check(Method::POST, "/counters/c", "1.5", 400).await;
}

#[tokio::test]
async fn the_largest_values_are_replicated_even_where_json_swells_them() {
    let bench = bench().await;
    bench.lab.lag("eu", NEVER).unwrap();
    let swelling = "\u{1}".repeat(64 * 1024);
    for number in 0..20 {
        bench.put("us", &number.to_string(), &swelling).await;
    }
    bench.lab.lag("eu", Duration::ZERO).unwrap();
    bench.applied("eu", "us=20").await;
    assert_eq!(bench.value("eu", "19").await, Some(swelling));
}

#[tokio::test]
async fn every_answer_takes_the_round_trip() {
    let round_trip = Duration::from_millis(60);
    let bench = bench_with(|region| region.round_trip = round_trip).await;
    let timed = async |path: &str| {
        let before = Instant::now();
        bench.get("us", path).await;
        before.elapsed()
    };
    for path in ["/health", "/kv", "/kv/missing", "/nowhere"] {
        assert!(timed(path).await >= round_trip, "{path}");
    }
    bench.lab.round_trip("us", 2 * round_trip).unwrap();
    assert!(timed("/health").await >= 2 * round_trip);
}

#[tokio::test]
async fn lists_the_keys_that_have_values() {
    let bench = bench().await;
    bench.put("us", "b", "1").await;
    bench.put("us", "a", "2").await;
    bench.put("us", "gone", "3").await;
    bench
        .request(Method::DELETE, "us", "/kv/gone")
        .send()
        .await
        .unwrap();
    let body = bench.get("us", "/kv").await.text().await.unwrap();
    assert_eq!(body, r#"{"keys":["a","b"],"more":false,"region":"us"}"#);
}

#[tokio::test]
async fn echoes_the_request_as_it_arrived() {
    let bench = bench().await;
    let request = bench
        .request(Method::POST, "us", "/echo?a=1")
        .header("x-one", "1");
    let answer = request.header("x-one", "2").send().await.unwrap();
    let echo: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(echo["region"], "us");
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["uri"], "/echo?a=1");
    assert_eq!(echo["headers"]["x-one"], serde_json::json!(["1", "2"]));
}

#[tokio::test]
async fn streams_chunks_one_by_one() {
    let bench = bench().await;
    let mut answer = bench.get("us", "/slow?ms=10000&chunks=2").await;
    let first = soon(answer.chunk()).await.unwrap().unwrap();
    assert_eq!(
        first, "us chunk 1 of 2\n",
        "the first does not wait for the second"
    );
    let whole = bench
        .get("us", "/slow?ms=1&chunks=3")
        .await
        .text()
        .await
        .unwrap();
    assert_eq!(whole, "us chunk 1 of 3\nus chunk 2 of 3\nus chunk 3 of 3\n");
}

#[tokio::test]
async fn a_poll_is_answered_as_soon_as_there_is_news_and_no_later_than_it_waits() {
    let bench = bench().await;
    let known = bench.get("eu", "/follow?after=&wait=30s").await;
    assert_eq!(header(&known, "meridian-applied"), "eu=0", "at once");
    let over = bench.get("eu", "/follow?after=eu=0&wait=10ms").await;
    assert_eq!(header(&over, "meridian-applied"), "eu=0");
    let (news, ()) = tokio::join!(bench.get("eu", "/follow?after=eu=0&wait=60s"), async {
        bench.put("us", "key", "value").await;
    });
    assert_eq!(header(&news, "meridian-applied"), "eu=0,us=1");
    let less = bench.get("eu", "/follow?after=eu=9,us=1&wait=60s").await;
    assert_eq!(
        header(&less, "meridian-applied"),
        "eu=0,us=1",
        "it never had that"
    );
}

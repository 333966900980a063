//! How requests and connections end: what nobody reads, who has gone, and the last answer.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_read_away_and_the_next_request_answered() {
    let mut client = Client::new();
    let body = "x".repeat(100_000);
    let head = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.say(&head).await;
    client.hear_to("/a").await;
    client.say(&body).await;
    client.say(&get("/b")).await;
    assert!(client.hear_to("/b").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_waited_for_only_so_long() {
    let mut client = Client::new();
    client
        .say("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
        .await;
    client.hear_to("/a").await;
    let began = Instant::now();
    assert_eq!(client.hear_all().await, "");
    assert_eq!(began.elapsed(), DISCARD);
}

#[tokio::test(start_paused = true)]
async fn of_a_body_that_nobody_reads_only_so_much_is_taken() {
    for (length, is_kept) in [(MOST_DISCARDED, true), (MOST_DISCARDED + 1, false)] {
        let mut client = Client::new();
        let head = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.say(&head).await;
        client.hear_to("/a").await;
        client.say(&"x".repeat(length)).await;
        client.say(&get("/b")).await;
        assert_eq!(client.hear_all().await.ends_with("/b"), is_kept, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_end_is_cut_off() {
    let mut client = Client::new();
    client.say("GET / HTTP/1.1\nHost: a\n\n").await;
    let began = Instant::now();
    assert!(client.hear_all().await.starts_with("HTTP/1.1 400 "));
    client.serving.await.unwrap();
    assert_eq!(began.elapsed(), LINGER);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_has_gone_is_given_up() {
    for path in ["GET /never", "POST /never"] {
        let mut client = Client::new();
        let length = "Content-Length: 9\r\n".repeat(usize::from(path.starts_with("POST")));
        client
            .say(&format!("{path} HTTP/1.1\r\nHost: a\r\n{length}\r\n"))
            .await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(client.notes().is_empty());
        client.stream.shutdown().await.unwrap();
        client.serving.await.unwrap();
        assert_eq!(*client.notes.lock().unwrap(), ["given up"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_its_side_behind_a_write_hears_the_answer() {
    let length = "Content-Length: 2\r\n";
    for (request, answered) in [
        (
            format!("POST /slow HTTP/1.1\r\nHost: a\r\n{length}\r\nok"),
            true,
        ),
        ("DELETE /slow HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), true),
        (
            format!("POST /slow HTTP/1.1\r\nHost: a\r\n{length}\r\no"),
            false,
        ),
        (get("/slow"), false),
    ] {
        let mut client = Client::new();
        client.say(&request).await;
        client.stream.shutdown().await.unwrap();
        let heard = client.hear_all().await;
        assert_eq!(heard.ends_with("/slow"), answered, "{request} {heard}");
        client.serving.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_a_request_that_was_on_its_way_is_answered_as_the_last() {
    let mut client = Client::new();
    client.stop.cancel();
    client.is_ending.store(true, Ordering::Relaxed);
    tokio::time::sleep(LAST_REQUEST / 2).await;
    client.say(&get("/a")).await;
    let heard = client.hear_all().await;
    assert!(heard.contains("connection: close\r\n"), "{heard}");
    let mut silent = Client::new();
    silent.stop.cancel();
    let began = Instant::now();
    assert_eq!(silent.hear_all().await, "");
    assert_eq!(began.elapsed(), LAST_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_still_sends_hears_what_was_wrong_with_its_request() {
    let mut client = Client::with_room(1024);
    client.say(&"\n".repeat(100_000)).await;
    let heard = client.hear_all().await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_behind_a_last_answer_is_read_away_for_a_while() {
    let close = "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 90000\r\n\r\n";
    let refused = "POST /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let bad_chunk = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    for head in [close, refused, bad_chunk] {
        let mut client = Client::new();
        client.say(head).await;
        assert!(client.hear_all().await.starts_with("HTTP/1.1 "), "{head}");
        let began = Instant::now();
        while began.elapsed() + LINGER < DISCARD {
            tokio::time::sleep(LINGER / 2).await;
            let sent = client.stream.write_all(&[b'x'; 5000]).await;
            assert!(sent.is_ok(), "{head} {:?}", began.elapsed());
        }
        client.serving.await.unwrap();
        assert!(began.elapsed() <= DISCARD, "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_last_answer_only_so_much_is_taken() {
    let mut client = Client::new();
    client.say("GET / HTTP/1.1\nHost: a\n\n").await;
    client.hear_all().await;
    client.say(&"x".repeat(MOST_DISCARDED)).await;
    let beyond = client.stream.write_all(&vec![b'x'; 2 << 20]).await;
    assert!(beyond.is_err(), "nobody reads more");
}

#[tokio::test(start_paused = true)]
async fn an_answer_longer_than_its_client_reads_at_once_arrives_whole() {
    let client = Client::with_room(64);
    let body = "x".repeat(100_000);
    let text = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (mut from_edge, mut to_edge) = tokio::io::split(client.stream);
    let writing = tokio::spawn(async move { to_edge.write_all(text.as_bytes()).await });
    let mut heard = Vec::new();
    while !heard.ends_with(body.as_bytes()) {
        from_edge.read_buf(&mut heard).await.unwrap();
    }
    writing.await.unwrap().unwrap();
}

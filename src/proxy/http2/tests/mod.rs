//! Both sides over connections in memory, whose other ends speak by the h2 crate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderValue, Request};

use super::LARGEST_HEAD;
use crate::proxy::activity::Activity;
use crate::proxy::pace::{Pace, Part};

mod by_hand;
mod origin;
mod serving;

const IDLE: Duration = Duration::from_secs(60);
const HINT: u16 = 103;

fn over_the_bound() -> HeaderValue {
    let length = usize::try_from(LARGEST_HEAD).unwrap();
    HeaderValue::try_from("x".repeat(length)).unwrap()
}

fn unhurried() -> Pace {
    Pace {
        part: Part::Answer,
        activity: Arc::new(Activity::new()),
        idle: Duration::ZERO,
        deadline: None,
        rate: 0,
    }
}

fn to(path: &str) -> Request<()> {
    let uri = format!("https://www.example.com{path}");
    Request::builder().uri(uri).body(()).unwrap()
}

async fn read(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok(all.into())
}

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A side of a connection whose frames are written by hand (RFC 9113 §4.1).
pub(super) struct ByHand(pub(super) DuplexStream);

impl ByHand {
    pub(super) async fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_say(kind, flags, stream, payload).await.unwrap();
    }

    /// The same to whom may have gone.
    pub(super) async fn try_say(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&[high, middle, low, kind, flags][..], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat()).await
    }

    pub(super) async fn say_preface(&mut self) {
        self.0.write_all(PREFACE).await.unwrap();
    }

    pub(super) async fn hear_preface(&mut self) {
        let mut preface = [0; PREFACE.len()];
        self.0.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, *PREFACE);
    }

    /// The next frame: its kind and how long it is.
    pub(super) async fn hear_any(&mut self) -> (u8, u32) {
        let (kind, _, length) = self.hear_frame().await;
        (kind, length)
    }

    /// The next frame: its kind, its flags and how long it is.
    pub(super) async fn hear_frame(&mut self) -> (u8, u8, u32) {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.unwrap();
        (head[3], head[4], length)
    }

    /// Reads until so many frames of a kind have come.
    pub(super) async fn hear(&mut self, kind: u8, mut count: usize) {
        while count > 0 {
            count -= usize::from(self.hear_any().await.0 == kind);
        }
    }
}

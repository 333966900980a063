//! Messages between two edges of one host: JSON, and sockets beside it (`SCM_RIGHTS` of unix(7)).
//!
//! A message is two big-endian numbers of 32 bits, how many sockets there are and how long the JSON is;
//! then the JSON; then a byte for each socket, which carries it. A socket that is received is the very one that
//! was sent: what waits in its queues waits on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// The longest JSON: clients that are used to their regions, as many as are remembered.
const LONGEST: usize = 64 << 20;

/// The most sockets: some for each core and address.
const MOST_SOCKETS: usize = 65_536;

/// Sends a message with its sockets.
pub(super) async fn send(
    stream: &mut UnixStream,
    message: &Value,
    sockets: &[OwnedFd],
) -> io::Result<()> {
    let text = message.to_string();
    let number = |length: usize| u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput);
    stream.write_u32(number(sockets.len())?).await?;
    stream.write_u32(number(text.len())?).await?;
    stream.write_all(text.as_bytes()).await?;
    for socket in sockets {
        let send = || send_one(&*stream, socket);
        stream.async_io(Interest::WRITABLE, send).await?;
    }
    Ok(())
}

/// Receives a message with its sockets.
pub(super) async fn receive(stream: &mut UnixStream) -> io::Result<(Value, Vec<OwnedFd>)> {
    let mut number = async || {
        let number = stream.read_u32().await?;
        usize::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    };
    let (count, length) = (number().await?, number().await?);
    if count > MOST_SOCKETS || length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    let mut sockets = Vec::new();
    for _ in 0..count {
        let receive = || receive_one(&*stream);
        sockets.push(stream.async_io(Interest::READABLE, receive).await?);
    }
    Ok((serde_json::from_slice(&text)?, sockets))
}

fn send_one(stream: &UnixStream, socket: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    let byte = [IoSlice::new(b".")];
    sendmsg(stream, &byte, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_one(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(stream, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let socket = control.drain().find_map(|message| {
        let RecvAncillaryMessage::ScmRights(mut sockets) = message else {
            return None;
        };
        sockets.next()
    });
    socket.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_socket_arrives_with_what_waits_in_its_queue() {
        let (mut old, mut new) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"hello").unwrap();
        let said = json!({ "x": "y".repeat(300_000) });
        let sockets = [OwnedFd::from(listener)];
        let (sent, received) = tokio::join!(send(&mut old, &said, &sockets), receive(&mut new));
        sent.unwrap();
        drop(sockets);
        let (heard, mut sockets) = received.unwrap();
        assert_eq!(heard, said);
        let listener = TcpListener::from(sockets.pop().unwrap());
        let mut hello = [0; 5];
        let mut accepted = listener.accept().unwrap().0;
        accepted.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    }

    #[tokio::test]
    async fn a_message_without_the_sockets_that_it_speaks_of_is_an_error() {
        let (mut old, mut new) = UnixStream::pair().unwrap();
        let message = [&[0, 0, 0, 1, 0, 0, 0, 2], &b"{}."[..]].concat();
        old.write_all(&message).await.unwrap();
        assert!(receive(&mut new).await.is_err());
    }

    #[tokio::test]
    async fn a_message_has_a_longest_length() {
        let (mut old, mut new) = UnixStream::pair().unwrap();
        old.write_all(&[0, 0, 0, 0, 0xff, 0, 0, 0]).await.unwrap();
        assert!(receive(&mut new).await.is_err());
    }
}

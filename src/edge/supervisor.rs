//! What whoever started the edge is told: the protocol of sd_notify(3), by which systemd (`Type=notify`) knows when
//! a service is ready, reloads, ends, and which process it is.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It serves. After an upgrade it is another process than before.
    Ready,
    /// It loads its configuration anew; [`News::Ready`] follows.
    Reloading,
    /// It drains and ends.
    Stopping,
}

/// Tells it, if anybody wants to know.
pub fn tell(news: News) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let text = match news {
        News::Ready => format!("READY=1\nMAINPID={}", std::process::id()),
        News::Reloading => "RELOADING=1".to_owned(),
        News::Stopping => "STOPPING=1".to_owned(),
    };
    if let Err(error) = send(Path::new(&place), &text) {
        tracing::warn!(socket = %Path::new(&place).display(), %error, "the supervisor is not told");
    }
}

fn send(place: &Path, text: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A name that begins with @ is of the abstract namespace (unix(7)).
    let to = match place.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    socket.send_to_addr(text.as_bytes(), &to)?;
    Ok(())
}

//! nginx and HAProxy in front of an origin of ours, with their defaults but for time-outs and retries.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::support::{Process, wait_until};

/// A running proxy that is nobody's friend.
pub struct Judge {
    pub name: &'static str,
    pub address: SocketAddr,
    _process: Process,
    _folder: tempfile::TempDir,
}

fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

fn start(
    name: &'static str,
    program: &str,
    arguments: &[&str],
    text: &str,
    at: SocketAddr,
) -> Judge {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("{name}.conf"));
    let place = folder.path().to_str().unwrap();
    std::fs::write(&file, text.replace("FOLDER", place)).unwrap();
    let process = Process::start(Command::new(program).args(arguments).arg(&file));
    assert!(
        wait_until(|| TcpStream::connect(at).is_ok()),
        "{name}; scripts/test.sh installs it:\n{}",
        process.said()
    );
    Judge {
        name,
        address: at,
        _process: process,
        _folder: folder,
    }
}

/// nginx in front of this origin.
pub fn nginx(origin: SocketAddr) -> Judge {
    let at = free_address();
    let text = format!(
        "daemon off;
master_process off;
pid FOLDER/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  client_header_timeout 1s;
  client_body_timeout 1s;
  keepalive_timeout 1s;
  proxy_read_timeout 2s;
  proxy_next_upstream off;
  upstream origin {{ server {origin}; keepalive 4; }}
  server {{
    listen {at};
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      proxy_set_header Host $http_host;
    }}
  }}
}}
"
    );
    start(
        "nginx",
        "/usr/sbin/nginx",
        &["-p", "/tmp", "-e", "stderr", "-c"],
        &text,
        at,
    )
}

/// HAProxy in front of this origin.
pub fn haproxy(origin: SocketAddr) -> Judge {
    let at = free_address();
    let text = format!(
        "global
  maxconn 100
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout client 1s
  timeout http-request 1s
  timeout server 2s
listen judge
  bind {at}
  server origin {origin}
"
    );
    start("haproxy", "/usr/sbin/haproxy", &["-db", "-f"], &text, at)
}

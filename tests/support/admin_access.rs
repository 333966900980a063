//! An edge of two regions, and who may ask its admin API what.

use std::process::Command;

use super::run;

/// With this `admin`.
pub fn yaml(origin: &str, admin: &str) -> String {
    format!(
        "listen: {{ dns: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
admin: {admin}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
regions:
  near: {{ location: [50, 8], addresses: [192.0.2.1], origins: ['{origin}'] }}
  far: {{ location: [39, -77], addresses: [192.0.2.2], origins: ['{origin}'] }}
services: {{ www: {{ hosts: [www.example.com], steering: {{ policy: priority }} }} }}
zones: {{ example.com: {{ nameservers: {{ ns1: [192.0.2.53] }} }} }}
"
    )
}

/// curl's answer: the status, and what it printed with `-i`.
pub fn curl(words: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-i", "--max-time", "5", "-w", "\n%{http_code}"]);
    let said = String::from_utf8(run(command.args(words)).stdout).unwrap();
    let (said, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), said.to_owned())
}

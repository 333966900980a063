//! Two regions on one data store, as tests of tokens begin.

/// A configuration with `near`, which comes first for reads, and `far`, which takes the writes of the one service,
/// api.example.com. `top` is said beside it, and `health` and `consistency` are the service's.
pub fn two_regions(near: &str, far: &str, top: &str, health: &str, consistency: &str) -> String {
    format!(
        "listen: {{ https: ['127.0.0.1:0'], admin: '127.0.0.1:0' }}
keys: [{{ id: 1, secret: 0123456789abcdef }}]
{top}
regions:
  near: {{ location: [50, 8], origins: ['{near}'] }}
  far: {{ location: [39, -77], origins: ['{far}'] }}
services:
  api:
    hosts: [api.example.com]
    steering: {{ policy: priority }}
    writes: {{ to: {{ primary: far }} }}
    health: {{ {health} }}
    consistency: {{ read_your_writes: true, {consistency} }}
"
    )
}

//! Any bytes are a MaxMind-format database or are refused; no address makes a lookup fail.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use meridian::geo::Database;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("a write to it");
    if let Ok(database) = Database::open(file.path()) {
        database.lookup(IpAddr::V4(Ipv4Addr::new(203, 178, 141, 1)));
        database.lookup(IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
});

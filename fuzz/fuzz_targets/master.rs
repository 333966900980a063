//! Any bytes are a master file's records, or problems that can be shown.
#![no_main]

use hickory_proto::rr::Name;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let origin = Name::from_ascii("example.com.").expect("it is a name");
    match meridian::config::read_master(&origin, bytes) {
        Ok(records) => {
            let lowered = |name: &Name| name.to_lowercase();
            assert!(records.iter().all(|r| r.owner.is_fqdn() && lowered(&r.owner) == r.owner));
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});

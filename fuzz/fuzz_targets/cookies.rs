//! Whatever a client sends as cookies, none of the edge's own goes on to an origin, and all others do, in their order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy::what_cookies_go_on;

fn is_own(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    let name = name.strip_prefix(b"__Host-").unwrap_or(name);
    name == b"meridian_seen" || name.starts_with(b"meridian_region_")
}

fuzz_target!(|lines: Vec<&[u8]>| {
    let on = what_cookies_go_on(&lines);
    let pairs = lines.iter().flat_map(|line| line.split(|byte| *byte == b';'));
    let others = pairs.map(<[u8]>::trim_ascii).filter(|pair| !is_own(pair));
    assert_eq!(on, others.collect::<Vec<_>>().join(&b"; "[..]));
    if !lines.is_empty() {
        assert_eq!(what_cookies_go_on(&[&on]), on);
    }
});

//! Any bytes are requests or are refused, and their pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy::what_requests_say;

fuzz_target!(|bytes: &[u8]| {
    let (whole, why) = what_requests_say(bytes, bytes.len());
    for piece in [1, 7] {
        let (said, reason) = what_requests_say(bytes, piece);
        assert_eq!((said, reason.is_some()), (whole.clone(), why.is_some()));
    }
});

//! Any bytes pass the guard of HTTP/1.1 or are refused, and their pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy::what_passes;

fuzz_target!(|bytes: &[u8]| {
    let (whole, why) = what_passes(bytes, bytes.len());
    assert!(bytes.starts_with(&whole));
    for piece in [1, 7] {
        let (passed, reason) = what_passes(bytes, piece);
        assert_eq!((passed, reason.is_some()), (whole.clone(), why.is_some()));
    }
});

//! Any bytes of an origin pass the guard of HTTP/1.1 or are refused, and their pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy::what_passes_of_answers;

fuzz_target!(|input: (bool, &[u8])| {
    let (to_head, bytes) = input;
    let (whole, why) = what_passes_of_answers(bytes, bytes.len(), to_head);
    assert!(bytes.starts_with(&whole));
    for piece in [1, 7] {
        let (passed, reason) = what_passes_of_answers(bytes, piece, to_head);
        assert_eq!((passed, reason.is_some()), (whole.clone(), why.is_some()));
    }
});

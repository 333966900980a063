//! Any bytes of an origin are an answer over HTTP/1.1 or are refused, and their pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy::what_answers_say;

fuzz_target!(|input: (bool, &[u8])| {
    let (to_head, bytes) = input;
    let (whole, why) = what_answers_say(bytes, bytes.len(), to_head);
    for piece in [1, 7] {
        let (said, reason) = what_answers_say(bytes, piece, to_head);
        assert_eq!((said, reason.is_some()), (whole.clone(), why.is_some()));
    }
});

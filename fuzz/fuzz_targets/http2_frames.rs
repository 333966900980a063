//! Any bytes of a client are streams or break a rule, any of a server answers or break one, and their pieces make no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::http2::{what_comes, what_is_answered};

fuzz_target!(|bytes: &[u8]| {
    let come = what_comes(bytes, bytes.len());
    let answered = what_is_answered(bytes, bytes.len());
    for piece in [1, 7] {
        assert_eq!(what_comes(bytes, piece), come);
        assert_eq!(what_is_answered(bytes, piece), answered);
    }
});

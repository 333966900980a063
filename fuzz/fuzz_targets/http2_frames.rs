//! Any bytes of a client are streams or break a rule, and their pieces make no difference; nor do they to what an origin
//! announces, or to what is left of its frames.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::http2::what_comes;
use meridian::proxy::{what_is_announced, what_is_sieved};

fuzz_target!(|bytes: &[u8]| {
    let come = what_comes(bytes, bytes.len());
    let announced = what_is_announced(bytes, bytes.len());
    let left = what_is_sieved(bytes, bytes.len(), bytes.len());
    for piece in [1, 7] {
        assert_eq!(what_comes(bytes, piece), come);
        assert_eq!(what_is_announced(bytes, piece), announced);
        assert_eq!(what_is_sieved(bytes, piece, 5), left);
    }
});

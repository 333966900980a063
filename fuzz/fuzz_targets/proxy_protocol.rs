//! Any bytes are a PROXY header, none, the beginning of one, or refused; a header is the same whatever follows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::proxy_protocol::{Beginning, LONGEST_HEADER, Said, Version, read};

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Ok(Beginning::Header(said, length)) => {
            let header = &bytes[..length];
            assert!(length <= LONGEST_HEADER);
            assert_eq!(read(header), Ok(Beginning::Header(said, length)));
            for cut in 0..length {
                assert_eq!(read(&header[..cut]), Ok(Beginning::Unfinished));
            }
            if let Said::Passed(ends) = said {
                for version in [Version::V1, Version::V2] {
                    let header = version.announce(ends);
                    assert!(matches!(read(&header), Ok(Beginning::Header(Said::Passed(_), _))));
                }
            }
        }
        Ok(Beginning::Unfinished) => assert!(bytes.len() < LONGEST_HEADER),
        Ok(Beginning::None) | Err(_) => {}
    }
});

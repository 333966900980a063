//! Any text is a token of this edge or counts as absent; a valid one survives being sealed again.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use meridian::positions::{Keyring, Token};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::new(&[]));

fuzz_target!(|text: &str| {
    if let Ok(token) = Token::open(text, &KEYRING, "orders", 0) {
        let again = token.seal(&KEYRING, "orders").expect("what was sealed fits");
        assert_eq!(Token::open(&again, &KEYRING, "orders", 0), Ok(token));
    }
    let _ = KEYRING.open(b"context", text.as_bytes());
});

//! Any text is a vector or is refused, and what is shown is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian::config::plan::VersionForm;
use meridian::positions::parse_vector;

fuzz_target!(|text: &str| {
    for form in [VersionForm::Integer, VersionForm::PgLsn] {
        if let Ok(vector) = parse_vector(text, form) {
            assert_eq!(parse_vector(&vector.show(form), form), Ok(vector));
        }
    }
});

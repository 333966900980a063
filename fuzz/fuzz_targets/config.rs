//! Any text is a configuration or is refused with problems that can be shown, RDATA included.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match meridian::config::load_text("fuzz.yaml", text, &|name| Some(name.to_owned())) {
        Ok(loaded) => drop(loaded.problems(loaded.warnings.clone()).as_warnings()),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});

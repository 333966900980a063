//! What a terminal or a page would act on instead of showing it.

/// Control characters; the marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9 §2), by
/// which a line reads otherwise than it is; and what ends a line.
pub(crate) fn acts_on(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_ends_a_line_is_acted_on_and_writing_is_not() {
        let unfit = "\u{7}\u{85}\u{061C}\u{200E}\u{200F}\u{2028}\u{2029}\u{202E}\u{2066}\u{2069}";
        assert!(unfit.chars().all(acts_on));
        assert!(!"neue Platten, שלום, 日本語 👩‍🔧".chars().any(acts_on));
    }
}

//! What a terminal or a page would act on instead of showing it.

use std::borrow::Cow;

/// Control characters; the marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9 §2), by
/// which a line reads otherwise than it is; and what ends a line.
pub(crate) fn acts_on(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
        )
}

/// A text of lines with what a terminal would act on written as JSON escapes it, so that JSON says the same.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, |c| acts_on(c) && !matches!(c, '\n' | '\t'))
}

/// A text that is one line, or a part of one, in the same way.
pub(crate) fn in_a_line(text: &str) -> Cow<'_, str> {
    escape(text, acts_on)
}

fn escape(text: &str, is_odd: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_odd) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_odd(character) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_they_are_but_for_what_a_terminal_acts_on() {
        assert_eq!(escaped("a\tb\n日本"), "a\tb\n日本");
        assert_eq!(escaped("\u{1b}[31mx\u{202E}y"), "\\u001b[31mx\\u202ey");
        assert_eq!(in_a_line("a\tb\n日本"), "a\\u0009b\\u000a日本");
    }

    #[test]
    fn what_turns_or_ends_a_line_is_acted_on_and_writing_is_not() {
        let unfit = "\u{7}\u{85}\u{061C}\u{200E}\u{200F}\u{2028}\u{2029}\u{202E}\u{2066}\u{2069}";
        assert!(unfit.chars().all(acts_on));
        assert!(!"neue Platten, שלום, 日本語 👩‍🔧".chars().any(acts_on));
    }
}

//! Text that comes from files, as it is shown.

use std::borrow::Cow;

/// The text with everything written out that a terminal, a log or a table would obey in place of showing it: control characters (line
/// breaks and tabs too unless `keeps_lines`), marks of writing direction, separators of lines and what has no width.
///
/// ```
/// assert_eq!(otfuse::visible("a\u{1b}[31m\nb\u{202e}", false), "a\\u{1b}[31m\\nb\\u{202e}");
/// ```
pub fn visible(text: &str, keeps_lines: bool) -> Cow<'_, str> {
    let is_kept = |c: char| keeps_lines && matches!(c, '\n' | '\t');
    if !text.chars().any(|c| obeyed(c) && !is_kept(c)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if obeyed(c) && !is_kept(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a character is obeyed and not shown.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON with the characters written out that [`visible`] writes out; they stand in strings alone.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    let is_written = |c: char| obeyed(c) && !matches!(c, '\n' | '\r' | '\t');
    if !json.chars().any(is_written) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_written(c) {
            let mut units = [0; 2];
            shown.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_obeyed_is_written_out() {
        assert!(matches!(visible("größe 层 é", false), Cow::Borrowed(_)));
        assert_eq!(visible("a\tb\n\u{9b}", true), "a\tb\n\\u{9b}");
        assert_eq!(visible("a\tb", false), "a\\tb");
        let name = "\u{1b}]0;x\u{7}\u{202e}\u{e0041}";
        let json = serde_json::to_string(name).unwrap();
        let shown = visible_json(&json);
        assert!(!shown.chars().any(obeyed), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
    }
}

//! The textual notations of pickle protocol 0.

/// Decodes the quoted, escaped text after a `STRING` instruction; `None` if it is not quoted.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&last, inner) = rest.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut decoded = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            decoded.push(byte);
            continue;
        }
        match bytes.next()? {
            b'n' => decoded.push(b'\n'),
            b't' => decoded.push(b'\t'),
            b'r' => decoded.push(b'\r'),
            b'x' => {
                let high = (bytes.next()? as char).to_digit(16)?;
                let low = (bytes.next()? as char).to_digit(16)?;
                decoded.push((high * 16 + low) as u8);
            }
            other @ (b'\\' | b'\'' | b'"') => decoded.push(other),
            other => decoded.extend([b'\\', other]),
        }
    }
    Some(decoded)
}

/// Decodes the text after a `UNICODE` instruction (Latin-1 with `\u` and `\U` escapes) to UTF-8.
pub(super) fn unescape(line: &[u8]) -> Option<String> {
    let mut decoded = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                decoded.push(char::from(byte));
                rest = tail;
                continue;
            }
        };
        let code = std::str::from_utf8(tail.get(1..1 + digits)?).ok()?;
        decoded.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        rest = &tail[1 + digits..];
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_protocol_0_text() {
        assert_eq!(unquote(br"'a\x62\n\'\q'").as_deref(), Some(&b"ab\n'\\q"[..]));
        assert_eq!(unquote(b"a"), None);
        assert_eq!(unquote(b"'"), None);
        assert_eq!(unescape(br"a\u00e9\U0001F600").as_deref(), Some("a\u{e9}\u{1F600}"));
        assert_eq!(unescape(br"\u12"), None);
    }
}

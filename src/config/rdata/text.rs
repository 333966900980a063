//! What a word stands for: bytes and names, with escapes (RFC 1035 §5.1).

use hickory_proto::rr::Name;

/// A byte of a word, and whether it was escaped.
fn bytes(word: &[u8]) -> Result<Vec<(u8, bool)>, String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push((byte, false));
            continue;
        }
        let first = rest.next().ok_or("it ends with a `\\`")?;
        if !first.is_ascii_digit() {
            bytes.push((first, true));
            continue;
        }
        let mut value = u16::from(first - b'0');
        for _ in 0..2 {
            let digit = rest.next_if(u8::is_ascii_digit);
            let digit = digit.ok_or_else(|| {
                let word = String::from_utf8_lossy(word);
                format!("`{word}`: `\\` is followed by three digits")
            })?;
            value = value * 10 + u16::from(digit - b'0');
        }
        let byte = u8::try_from(value).map_err(|_| format!("`\\{value}` is over 255"))?;
        bytes.push((byte, true));
    }
    Ok(bytes)
}

/// The bytes that a word stands for.
pub(in crate::config) fn unescape(word: &[u8]) -> Result<Vec<u8>, String> {
    Ok(bytes(word)?.into_iter().map(|(byte, _)| byte).collect())
}

/// Whether a name ends in what stands for the zone's name or the file's origin in gdnsd.
fn is_of_gdnsd(word: &[u8]) -> bool {
    let last = word.rsplit(|byte| *byte == b'.').next();
    matches!(last, Some(b"@Z" | b"@F"))
}

/// A name as master files write it: `@`, relative to `origin`, or absolute with a final dot.
pub(in crate::config) fn name(word: &[u8], origin: &Name) -> Result<Name, String> {
    let refuse = |why: &str| {
        let text = String::from_utf8_lossy(word);
        format!("`{text}` is not a name: {why}")
    };
    match word {
        b"@" => return Ok(origin.clone()),
        b"." => return Ok(Name::root()),
        _ if is_of_gdnsd(word) => {
            return Err(refuse(
                "gdnsd's `@Z` and `@F` are not known here: write the zone's name out, or `\\@` for such a label",
            ));
        }
        _ => {}
    }
    let bytes = bytes(word).map_err(|why| refuse(&why))?;
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    for (byte, escaped) in bytes {
        match labels.last_mut() {
            Some(label) if escaped || byte != b'.' => label.push(byte),
            Some(_) | None => labels.push(Vec::new()),
        }
    }
    let absolute = labels.last().is_some_and(Vec::is_empty);
    if absolute {
        labels.pop();
    }
    if labels.is_empty() || labels.iter().any(Vec::is_empty) {
        return Err(refuse("a label is empty"));
    }
    if labels.iter().any(|label| label.len() > 63) {
        return Err(refuse("a label has more than 63 characters"));
    }
    let name = Name::from_labels(labels.iter().map(Vec::as_slice));
    let name = name.and_then(|mut name| {
        // From labels comes an absolute name; below an origin it is not.
        name.set_fqdn(absolute);
        if absolute {
            Ok(name)
        } else {
            name.append_domain(origin)
        }
    });
    name.map_err(|_| refuse("it has more than 255 bytes"))
}

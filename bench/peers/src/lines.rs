//! What text protocols have in common.

/// The line at the front, without its `\r\n`; `None` until it is whole.
#[inline]
pub(crate) fn find_line(input: &[u8]) -> Option<&[u8]> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    Some(input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]))
}

/// A number in decimal digits.
#[inline]
pub(crate) fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + usize::from(digit - b'0')))
}

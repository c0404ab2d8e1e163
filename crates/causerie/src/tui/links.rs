//! Addresses in texts, which terminals open (OSC 8). Only visible ASCII goes into the sequence, and what is opened is what is read.

use std::num::NonZeroU16;

use ratatui::buffer::{Buffer, CellDiffOption};
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::text::width;

/// Terminals take no longer ones.
const BYTES_MAX: usize = 2_000;

/// Part of an address on one line.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct AddressPart {
    line: usize,
    column: usize,
    text: String,
    address: String,
}

/// The addresses in a text, in order.
fn addresses(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("http").map(|start| at + start) {
        at = start + 4;
        let rest = &text[start..];
        let Some(scheme) = ["https://", "http://"].into_iter().find(|scheme| rest.starts_with(scheme)) else {
            continue;
        };
        let is_inside = text[..start].chars().next_back().is_some_and(char::is_alphanumeric);
        let end =
            rest.find(|c: char| !c.is_ascii_graphic() || "<>\"`{}|\\^".contains(c)).unwrap_or(rest.len());
        // What is not ASCII may belong to it, and another address must not be opened.
        let goes_on = rest[end..].chars().next().is_some_and(|c| !c.is_ascii() && !c.is_whitespace());
        let mut address = &rest[..end];
        at = start + end;
        while let Some(last) = address.chars().next_back() {
            let closes = last == ')' && !address.contains('(');
            if !(closes || ".,;:!?'*_]".contains(last)) {
                break;
            }
            address = &address[..address.len() - 1];
        }
        if !is_inside && !goes_on && address.len() > scheme.len() && address.len() <= BYTES_MAX {
            found.push(address);
        }
    }
    found
}

/// Returns the addresses of `text` in the lines that it is drawn in. One that is not there as a whole is none.
pub(super) fn in_lines(lines: &[String], text: &str) -> Vec<AddressPart> {
    let mut links = Vec::new();
    let (mut line, mut from) = (0, 0);
    for address in addresses(text) {
        let found = (line..lines.len()).find_map(|index| {
            let start = if index == line { from } else { 0 };
            parts(lines, index, start, address)
        });
        let Some(parts) = found else { continue };
        if let Some((last, start, end)) = parts.last().copied() {
            (line, from) = (last, end.max(start));
        }
        links.extend(parts.into_iter().map(|(line, start, end)| AddressPart {
            line,
            column: width(&lines[line][..start]),
            text: lines[line][start..end].into(),
            address: address.into(),
        }));
    }
    links
}

/// Line, start and end in bytes of each part of an address that begins in that line.
fn parts(lines: &[String], first: usize, from: usize, address: &str) -> Option<Vec<(usize, usize, usize)>> {
    let line = lines[first].trim_end();
    let is_quote = line.trim_start().starts_with(super::layout::QUOTE);
    let rest = line.get(from..).filter(|_| !is_quote)?;
    if let Some(at) = rest.find(address) {
        return Some(vec![(first, from + at, from + at + address.len())]);
    }
    let begun = (1..address.len()).rev().find(|&bytes| rest.ends_with(&address[..bytes]))?;
    let mut parts = vec![(first, line.len() - begun, line.len())];
    let mut left = &address[begun..];
    for (index, line) in lines.iter().enumerate().skip(first + 1) {
        let start = line.len() - line.trim_start().len();
        let part = line.trim();
        if part.starts_with(left) {
            parts.push((index, start, start + left.len()));
            return Some(parts);
        }
        left = left.strip_prefix(part).filter(|_| !part.is_empty())?;
        parts.push((index, start, start + part.len()));
    }
    None
}

/// Puts it into the first of its cells; the others belong to that one.
pub(super) fn draw(link: &AddressPart, area: Rect, buffer: &mut Buffer) {
    let columns = width(&link.text);
    let Some((line, column)) = u16::try_from(link.line).ok().zip(u16::try_from(link.column).ok()) else {
        return;
    };
    let Some(forced) = u16::try_from(columns).ok().and_then(NonZeroU16::new) else { return };
    let (x, y) = (area.x.saturating_add(column), area.y.saturating_add(line));
    if y >= area.bottom() || usize::from(x) + columns > usize::from(area.right()) {
        return;
    }
    let cell = &mut buffer[(x, y)];
    cell.modifier.insert(Modifier::UNDERLINED);
    cell.set_symbol(&format!("\x1b]8;;{}\x1b\\{}\x1b]8;;\x1b\\", link.address, link.text));
    cell.set_diff_option(CellDiffOption::ForcedWidth(forced));
    // Never drawn, and unlike whatever comes there next, so that that is.
    for x in x + 1..x + forced.get() {
        buffer[(x, y)].set_char('\0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_and_nothing_else() {
        let found = [
            ("see https://a.org/b?c=d#e.", vec!["https://a.org/b?c=d#e"]),
            ("(http://a.org) https://b.org/x_(y)", vec!["http://a.org", "https://b.org/x_(y)"]),
            ("javascript:alert(1) file:///etc ftp://a httpx://b http:// https://", vec![]),
            ("https://a.org\x1b]8;;http://evil\x07", vec!["https://a.org", "http://evil"]),
            ("https://a.org/\u{202e}x https://a.org/é xhttps://a.org", vec![]),
            ("https://a.org\nhttps://b.org", vec!["https://a.org", "https://b.org"]),
        ];
        for (text, expected) in found {
            assert_eq!(addresses(text), expected, "{text:?}");
        }
        assert!(addresses(&format!("https://{}", "a".repeat(5_000))).is_empty());
    }

    #[test]
    fn an_address_is_found_where_it_is_broken() {
        let text = "look at https://example.org/a/long/way there";
        for columns in 3..60 {
            let lines: Vec<_> = super::super::text::wrap(&format!("日: {text}"), columns);
            let lines: Vec<_> = lines.into_iter().map(|line| format!("    {line}  ")).collect();
            let links = in_lines(&lines, text);
            let whole: String = links.iter().map(|link| &link.text[..]).collect();
            assert_eq!(whole, "https://example.org/a/long/way", "{columns}: {lines:?}");
            assert!(links.iter().all(|link| link.address == whole));
        }
        assert_eq!(in_lines(&["example.org/a".into()], "https://example.org/a"), [], "it begins above");
    }
}

//! Words of proxies about a visitor, with each request: `Forwarded` [RFC 7239], or `X-Forwarded-For` and `X-Forwarded-Proto`.
//!
//! Each proxy appends where it was asked from, so the last entry is the nearest proxy's, and those before it may be anybody's
//! invention: the visitor is the last of them that is no proxy. A proxy that appends to the one header passes the other on as it
//! came: where both are there, they have to tell the same visitor.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use thiserror::Error;

/// The headers of one request, as they came; of each there may be several.
#[derive(Clone, Debug, Default)]
pub struct ForwardingHeaders<'a> {
    /// `Forwarded`.
    pub forwarded: Vec<&'a [u8]>,
    /// `X-Forwarded-For`.
    pub forwarded_for: Vec<&'a [u8]>,
    /// `X-Forwarded-Proto`.
    pub forwarded_proto: Vec<&'a [u8]>,
}

/// Visitor of whom a proxy tells.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Visitor {
    /// The address that it asks from.
    pub address: Option<IpAddr>,
    /// It has come by `https`, or has not.
    pub is_encrypted: Option<bool>,
}

/// Error of headers that tell no visitor. The request is to be refused: it may be anybody's.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ForwardingError {
    /// Not by the grammar, or an entry without an address.
    #[error("{0} is malformed, or tells no address")]
    Malformed(&'static str),
    /// Two headers that tell two visitors.
    #[error("Forwarded and X-Forwarded-For tell two visitors")]
    Ambiguous,
}

const FORWARDED: &str = "Forwarded";
const FORWARDED_FOR: &str = "X-Forwarded-For";
const FORWARDED_PROTO: &str = "X-Forwarded-Proto";

/// Place where a proxy was asked from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Hop {
    address: IpAddr,
    is_encrypted: Option<bool>,
}

impl ForwardingHeaders<'_> {
    /// Returns what they tell, for a server that takes these addresses for proxies.
    ///
    /// # Errors
    /// [`ForwardingError`].
    pub fn read(&self, is_proxy: impl Fn(IpAddr) -> bool) -> Result<Visitor, ForwardingError> {
        let standard = list(&self.forwarded, FORWARDED, read_element)?;
        let common = list(&self.forwarded_for, FORWARDED_FOR, |text| {
            Some(Hop { address: read_node(text)?, is_encrypted: None })
        })?;
        let schemes = list(&self.forwarded_proto, FORWARDED_PROTO, read_scheme)?;
        // Counted from the end: the last entry is the nearest proxy's.
        let find = |hops: &[Hop]| {
            let place = hops.iter().rposition(|hop| !is_proxy(hop.address)).unwrap_or(0);
            Some((*hops.get(place)?, hops.len() - place))
        };
        let (standard, common) = (find(&standard), find(&common));
        if let (Some((one, _)), Some((other, _))) = (standard, common)
            && one.address != other.address
        {
            return Err(ForwardingError::Ambiguous);
        }
        let told = standard.and_then(|(hop, _)| hop.is_encrypted);
        // Where there are fewer of them the first is about the visitor, as one alone is.
        let from_end = common.map_or(1, |(_, from_end)| from_end);
        let scheme = schemes.get(schemes.len().saturating_sub(from_end)).copied();
        Ok(Visitor {
            address: standard.or(common).map(|(hop, _)| hop.address),
            is_encrypted: scheme.or(told),
        })
    }
}

/// Reads the entries of a header, all lines of which are one list.
fn list<T>(
    lines: &[&[u8]],
    name: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, ForwardingError> {
    let malformed = || ForwardingError::Malformed(name);
    let mut entries = Vec::new();
    for line in lines {
        let text = std::str::from_utf8(line).ok().filter(|text| text.is_ascii()).ok_or_else(malformed)?;
        for entry in split(text, ',').ok_or_else(malformed)? {
            entries.push(read(entry).ok_or_else(malformed)?);
        }
    }
    Ok(entries)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Splits a text outside of quoted strings, and trims the parts. `None` if a string does not end.
fn split(text: &str, at: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (place, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == at && !quoted => {
                parts.push(trimmed(&text[start..place]));
                start = place + 1;
            }
            _ => {}
        }
    }
    parts.push(trimmed(&text[start..]));
    (!quoted && !escaped).then_some(parts)
}

/// Reads an element of `Forwarded`, which has to tell an address.
fn read_element(text: &str) -> Option<Hop> {
    let (mut address, mut is_encrypted) = (None, None);
    for pair in split(text, ';')? {
        let (name, value) = pair.split_once('=')?;
        let value = read_value(value)?;
        let is_new = match &name.to_ascii_lowercase()[..] {
            "for" => address.replace(read_node(&value)?).is_none(),
            "proto" => is_encrypted.replace(read_scheme(&value)?).is_none(),
            _ => is_token(name),
        };
        // Each at most once [4].
        if !is_new {
            return None;
        }
    }
    Some(Hop { address: address?, is_encrypted })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Reads a token, or a quoted string.
fn read_value(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else { return is_token(text).then(|| text.to_owned()) };
    let (mut value, mut chars) = (String::new(), inner.chars());
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => value.push(chars.next()?),
            char if char.is_ascii_control() && char != '\t' => return None,
            char => value.push(char),
        }
    }
}

/// Reads an address, with or without a port. Not what stands for an address that a proxy does not want to tell.
fn read_node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => text.parse().ok().or_else(|| {
            let with_port = text.parse::<SocketAddr>().ok()?;
            // An address of a link means something there only.
            let is_scoped = matches!(with_port, SocketAddr::V6(address) if is_scoped(&address));
            (!is_scoped).then(|| with_port.ip())
        })?,
    };
    Some(address.to_canonical())
}

fn is_scoped(address: &SocketAddrV6) -> bool {
    address.scope_id() != 0
}

/// Returns whether a scheme is an encrypted one.
fn read_scheme(text: &str) -> Option<bool> {
    match &text.to_ascii_lowercase()[..] {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_proxy(address: IpAddr) -> bool {
        ["10.0.0.1", "10.0.0.2", "fd00::1"].iter().any(|proxy| proxy.parse() == Ok(address))
    }

    fn told(
        forwarded: &[&str],
        common: &[&str],
        proto: &[&str],
    ) -> Result<(String, Option<bool>), ForwardingError> {
        let forwarded = forwarded.iter().map(|line| line.as_bytes()).collect();
        let forwarded_for = common.iter().map(|line| line.as_bytes()).collect();
        let forwarded_proto = proto.iter().map(|line| line.as_bytes()).collect();
        let visitor = ForwardingHeaders { forwarded, forwarded_for, forwarded_proto }.read(is_proxy)?;
        Ok((visitor.address.map_or(String::new(), |address| address.to_string()), visitor.is_encrypted))
    }

    fn address(common: &[&str]) -> String {
        told(&[], common, &[]).unwrap().0
    }

    #[test]
    fn the_visitor_is_the_last_that_is_no_proxy() {
        assert_eq!(address(&[]), "");
        assert_eq!(address(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(address(&["203.0.113.9, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(address(&["203.0.113.9, 192.0.2.1 ,10.0.0.2,\t10.0.0.1"]), "192.0.2.1");
        assert_eq!(address(&["203.0.113.9", "192.0.2.1, 10.0.0.1"]), "192.0.2.1");
        assert_eq!(address(&["10.0.0.2, 10.0.0.1"]), "10.0.0.2", "a proxy's own request");
        for (entry, expected) in [
            ("192.0.2.1:80", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(address(&[entry]), expected);
        }
        for entry in [
            "",
            "192.0.2.1,",
            ",192.0.2.1",
            "unknown",
            "_hidden",
            "192.0.2.1:x",
            "192.0.2",
            "[192.0.2.1]",
            "fe80::1%1",
            "[fe80::1%1]:2",
            "192.0.2.1 192.0.2.2",
            "\"192.0.2.1\"",
            "192.0.2.1, \"",
            "ä",
        ] {
            assert_eq!(told(&[], &[entry], &[]), Err(ForwardingError::Malformed(FORWARDED_FOR)), "{entry}");
        }
    }

    #[test]
    fn the_standard_header_is_read_by_its_grammar() {
        for (line, expected) in [
            ("for=192.0.2.1", ("192.0.2.1", None)),
            ("For=\"[2001:db8::1]:4711\";proto=https;by=_x", ("2001:db8::1", Some(true))),
            (
                "for=203.0.113.9;proto=http, proto=https;for=192.0.2.1, for=10.0.0.1;proto=http",
                ("192.0.2.1", Some(true)),
            ),
            ("for=\"192.0.2\\.1\";host=\"a,b;c=\\\"d\"", ("192.0.2.1", None)),
        ] {
            let (address, is_encrypted) = told(&[line], &[], &[]).unwrap();
            assert_eq!((&address[..], is_encrypted), expected, "{line}");
        }
        for line in [
            "",
            "for",
            "for=",
            "proto=https",
            "for=unknown",
            "for=_x",
            "for=192.0.2.1;for=192.0.2.1",
            "for=[2001:db8::1]",
            "for=2001:db8::1",
            "for=\"192.0.2.1",
            "for=\"192.0.2.1\"x",
            "for=192.0.2.1;",
            "for=192.0.2.1,",
            "for=192.0.2.1, proto=https",
            "for=192.0.2.1;proto=gopher",
            "for=192.0.2.1;a b=c",
            "for =192.0.2.1",
        ] {
            assert_eq!(told(&[line], &[], &[]), Err(ForwardingError::Malformed(FORWARDED)), "{line}");
        }
    }

    #[test]
    fn what_one_proxy_passes_on_does_not_count_for_what_another_says() {
        assert_eq!(told(&["for=203.0.113.9"], &["192.0.2.1"], &[]), Err(ForwardingError::Ambiguous));
        assert_eq!(
            told(&["for=192.0.2.1"], &["203.0.113.9, 192.0.2.1"], &[]),
            Ok(("192.0.2.1".into(), None))
        );
    }

    #[test]
    fn the_scheme_is_the_visitors() {
        for (schemes, addresses, expected) in [
            (&["https"][..], "192.0.2.1", Some(true)),
            (&["http"], "192.0.2.1", Some(false)),
            (&["HTTPS"], "192.0.2.1, 10.0.0.2", Some(true)),
            (&["https, http"], "192.0.2.1, 10.0.0.2", Some(true)),
            (&["http", "https, http"], "203.0.113.9, 192.0.2.1, 10.0.0.2", Some(true)),
            (&["http, https"], "203.0.113.9, 192.0.2.1", Some(true)),
            (&[], "192.0.2.1", None),
        ] {
            assert_eq!(told(&[], &[addresses], schemes).unwrap().1, expected, "{schemes:?} {addresses}");
        }
        assert_eq!(told(&[], &[], &["wss"]), Ok((String::new(), Some(true))));
        assert_eq!(told(&[], &[], &["ftp"]), Err(ForwardingError::Malformed(FORWARDED_PROTO)));
    }

    proptest! {
        #[test]
        fn nothing_before_the_nearest_entry_counts(before in "[ -~]{0,40}", own in any::<[u8; 4]>()) {
            let own = IpAddr::from(own);
            let line = format!("{before}, {own}");
            if let Ok((address, _)) = told(&[], &[&line], &[]) {
                prop_assert!(is_proxy(own) || address == own.to_string());
            }
            let line = format!("{before}, for={own}");
            if let Ok((address, _)) = told(&[&line], &[], &[]) {
                prop_assert!(is_proxy(own) || address == own.to_string());
            }
        }
    }
}

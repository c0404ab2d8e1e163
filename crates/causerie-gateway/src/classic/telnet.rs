//! Commands of telnet among what a client sends [RFC 854, RFC 855]: PuTTY and telnet itself send some unasked, and nobody
//! has written them.

use std::borrow::Cow;

/// Begins each command; no text in UTF-8 has it.
const IAC: u8 = 255;
/// Ends and begins a subnegotiation.
const SE: u8 = 240;
const SB: u8 = 250;

/// Place in the stream, between two reads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Telnet {
    #[default]
    Text,
    /// Behind [`IAC`].
    Command,
    /// Behind `WILL`, `WONT`, `DO` or `DONT`, which is given.
    Option(u8),
    Subnegotiation,
    /// Behind an [`IAC`] in a subnegotiation.
    Ending,
}

impl Telnet {
    /// Returns the text in what was read. What begins as a command and is none stays, to be refused as no text.
    pub(super) fn text<'r>(&mut self, read: &'r [u8]) -> Cow<'r, [u8]> {
        if *self == Self::Text && !read.contains(&IAC) {
            return Cow::Borrowed(read);
        }
        let mut text = Vec::with_capacity(read.len());
        for &byte in read {
            *self = match (*self, byte) {
                (Self::Text, IAC) => Self::Command,
                (Self::Text, _) => {
                    text.push(byte);
                    Self::Text
                }
                (Self::Command, SB) => Self::Subnegotiation,
                (Self::Command, 251..=254) => Self::Option(byte),
                (Self::Command, SE..=249) => Self::Text,
                (Self::Command, _) => {
                    text.extend([IAC, byte]);
                    Self::Text
                }
                // Options that a client offers are no line ends: this is the end of some other text.
                (Self::Option(command), b'\r' | b'\n') => {
                    text.extend([IAC, command, byte]);
                    Self::Text
                }
                (Self::Option(_), _) => Self::Text,
                (Self::Subnegotiation, IAC) => Self::Ending,
                (Self::Subnegotiation, _) => Self::Subnegotiation,
                (Self::Ending, SE) => Self::Text,
                (Self::Ending, _) => Self::Subnegotiation,
            };
        }
        Cow::Owned(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_left_out_however_they_are_cut() {
        let puts: &[u8] =
            b"\xff\xfb\x1f\xff\xfd\x01./jo\xff\xfa\x1f\x00\x50\xff\xff\x00\x18\xff\xf0in x\xff\xf9\r\n";
        for cut in 0..=puts.len() {
            let mut telnet = Telnet::default();
            let (one, other) = puts.split_at(cut);
            let text = [telnet.text(one), telnet.text(other)].concat();
            assert_eq!(text, b"./join x\r\n", "cut at {cut}");
            assert_eq!(telnet, Telnet::Text);
        }
    }

    #[test]
    fn what_is_no_command_stays_to_be_refused() {
        for text in [&b"caf\xc3\xa9\n"[..], b"\xff\xfe\n", b"\xff\xffx", b"\xffa"] {
            assert_eq!(Telnet::default().text(text), text);
        }
    }
}

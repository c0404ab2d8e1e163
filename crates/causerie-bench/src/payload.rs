//! Texts of the load: who sent each, which of theirs it is, when, and what it answers.
//!
//! ```text
//! text = run(8) sender(8) seq(8) sent(16) answered.sender(8) answered.seq(8) filler(rest)
//! ```
//! Numbers are lowercase hexadecimal digits: a text that any protocol takes, read in a few instructions a field. The
//! filler is dots; a text with another filler was damaged on its way.

/// No text is shorter.
pub const TEXT_BYTES_MIN: usize = 56;

/// One of the load's messages, whatever protocol brought it. Numbers of a sender count from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Id {
    /// Number of the sender in the run.
    pub sender: u32,
    /// Number of the message among the sender's.
    pub seq: u32,
}

/// Contents of a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaidText {
    /// Id of the message.
    pub id: Id,
    /// Time of sending, in nanoseconds of the run's own clock.
    pub sent_nanos: u64,
    /// The message that it answers: the sender had received it before.
    pub answers: Option<Id>,
}

/// Reason why a text is not counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotOurs {
    /// Somebody else's words, or another run's.
    Foreign,
    /// Ours once, but not the bytes that were sent.
    Damaged,
}

/// Writes and reads the texts of one run.
#[derive(Clone, Debug)]
pub struct RunTexts {
    run: [u8; 8],
    filler: Vec<u8>,
}

impl RunTexts {
    /// Texts of `bytes` bytes, at least [`TEXT_BYTES_MIN`], that only this run takes for its own.
    #[must_use]
    pub fn new(run: u32, bytes: usize) -> Self {
        assert!(bytes >= TEXT_BYTES_MIN, "the fields need {TEXT_BYTES_MIN} bytes");
        let mut head = Vec::with_capacity(8);
        put_hex(&mut head, run);
        Self { run: head.try_into().expect("eight digits"), filler: vec![b'.'; bytes - TEXT_BYTES_MIN] }
    }

    /// Returns the length of each text.
    #[must_use]
    pub fn bytes(&self) -> usize {
        TEXT_BYTES_MIN + self.filler.len()
    }

    /// Appends the text of `said` to `out`.
    pub fn write(&self, out: &mut Vec<u8>, said: &SaidText) {
        let answered = said.answers.unwrap_or(Id { sender: 0, seq: 0 });
        out.extend_from_slice(&self.run);
        put_hex(out, said.id.sender);
        put_hex(out, said.id.seq);
        put_hex(out, (said.sent_nanos >> 32) as u32);
        put_hex(out, said.sent_nanos as u32);
        put_hex(out, answered.sender);
        put_hex(out, answered.seq);
        out.extend_from_slice(&self.filler);
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`NotOurs`].
    #[inline]
    pub fn read(&self, text: &[u8]) -> Result<SaidText, NotOurs> {
        let Some((head, filler)) = text.split_first_chunk::<TEXT_BYTES_MIN>() else {
            return Err(NotOurs::Foreign);
        };
        if head[..8] != self.run {
            return Err(NotOurs::Foreign);
        }
        if filler != self.filler {
            return Err(NotOurs::Damaged);
        }
        let field = |n: usize| hex(head[8 * n..8 * n + 8].try_into().expect("eight of 56"));
        let answered = Id { sender: field(5), seq: field(6) };
        Ok(SaidText {
            id: Id { sender: field(1), seq: field(2) },
            sent_nanos: u64::from(field(3)) << 32 | u64::from(field(4)),
            answers: (answered.seq != 0).then_some(answered),
        })
    }
}

fn put_hex(out: &mut Vec<u8>, value: u32) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..8).rev().map(|n| DIGITS[(value >> (4 * n)) as usize & 15]));
}

/// Eight digits at once. What is no digit gives some number: the caller's other checks will not like it.
#[inline]
fn hex(digits: [u8; 8]) -> u32 {
    let bytes = u64::from_be_bytes(digits);
    // A letter has bit 6 set, and counts from 1 in its low four bits.
    let nibbles = (bytes & 0x0f0f_0f0f_0f0f_0f0f) + 9 * (bytes >> 6 & 0x0101_0101_0101_0101);
    let nibbles = nibbles & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (quads | quads >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_and_nothing_else_is_taken() {
        let texts = RunTexts::new(0xdead_0123, 128);
        for value in [1, 9, 10, 0xabcd_ef01, u32::MAX] {
            let id = Id { sender: value, seq: value };
            for answers in [None, Some(Id { sender: 7, seq: value })] {
                let said = SaidText { id, sent_nanos: u64::from(value) << 20 | 5, answers };
                let mut text = Vec::new();
                texts.write(&mut text, &said);
                assert_eq!(text.len(), texts.bytes());
                assert!(text.is_ascii());
                assert_eq!(texts.read(&text), Ok(said));
                assert_eq!(RunTexts::new(1, 128).read(&text), Err(NotOurs::Foreign));
                assert_eq!(texts.read(&text[..127]), Err(NotOurs::Damaged));
                text[100] = b'!';
                assert_eq!(texts.read(&text), Err(NotOurs::Damaged));
            }
        }
        assert_eq!(texts.read(b"hello"), Err(NotOurs::Foreign));
    }
}

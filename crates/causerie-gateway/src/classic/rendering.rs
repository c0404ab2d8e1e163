//! Records of a room as lines, rendered once for all its classic clients.

use bytes::Bytes;
use causerie_core::content::plain;
use causerie_core::log::page::{HistoryRecord, What};
use cbcast::MemberId;

use super::encode_part;

/// Neighbouring records as the lines that clients read; each leaves out those of its own member.
#[derive(Clone, Debug)]
pub struct ClassicRendering {
    ascii_only: bool,
    lines: Bytes,
    places: Vec<RecordSpan>,
}

/// One record.
#[derive(Clone, Copy, Debug)]
struct RecordSpan {
    /// The member that is not told, since it did this itself.
    by: Option<MemberId>,
    /// The end of its lines.
    end: usize,
}

impl ClassicRendering {
    /// Renders records, each with the author and the beginning of the text that it answers, where these are known.
    pub fn new<'a>(
        records: impl IntoIterator<Item = (&'a HistoryRecord, Option<(&'a str, &'a str)>)>,
        ascii_only: bool,
    ) -> Self {
        let mut lines = Vec::new();
        let mut place = |record: &HistoryRecord, about| {
            let (line, by) = match &record.what {
                What::Joined => (Some(plain::joined(&record.name)), Some(record.member)),
                What::Left { .. } => (Some(plain::left(&record.name)), None),
                What::Said(body) => (plain::said(&record.name, body, about), Some(record.member)),
            };
            if let Some(line) = line {
                lines.extend_from_slice(&encode_part(&line, ascii_only));
                lines.push(b'\n');
            }
            RecordSpan { by, end: lines.len() }
        };
        let places = records.into_iter().map(|(record, about)| place(record, about)).collect();
        Self { ascii_only, lines: lines.into(), places }
    }

    /// Returns whether all is in ASCII.
    #[must_use]
    pub const fn is_ascii_only(&self) -> bool {
        self.ascii_only
    }

    /// Returns where the lines of the first `n` records end.
    fn end_of(&self, n: usize) -> usize {
        n.checked_sub(1).map_or(0, |n| self.places.get(n).map_or(self.lines.len(), |p| p.end))
    }

    /// Returns the lines for somebody who has done nothing of it, the first `skipped` records left out.
    #[must_use]
    pub fn lines(&self, skipped: usize) -> Bytes {
        self.lines.slice(self.end_of(skipped)..)
    }

    /// Returns whether `member` has done something of it itself, the first `skipped` records left out.
    #[must_use]
    pub fn leaves_out(&self, member: MemberId, skipped: usize) -> bool {
        self.places.iter().skip(skipped).any(|place| place.by == Some(member))
    }

    /// Returns how many records are begun once `taken` bytes of the lines for `member` are, counted from the first record, and
    /// a copy of what is left of the last of them.
    #[must_use]
    pub fn after(&self, member: Option<MemberId>, skipped: usize, mut taken: usize) -> (usize, Bytes) {
        let mut start = self.end_of(skipped);
        for (n, place) in self.places.iter().enumerate().skip(skipped) {
            let is_own = member.is_some() && place.by == member;
            let length = if is_own { 0 } else { place.end - start };
            if taken == 0 && length > 0 {
                return (n, Bytes::new());
            }
            if taken < length {
                return (n + 1, Bytes::copy_from_slice(&self.lines[start + taken..place.end]));
            }
            (taken, start) = (taken - length, place.end);
        }
        (self.places.len(), Bytes::new())
    }

    /// The lines for `member`, the first `skipped` records left out: slices of what all share.
    #[must_use]
    pub fn lines_for(&self, member: MemberId, skipped: usize) -> Vec<Bytes> {
        let mut slices = Vec::new();
        let mut start = self.end_of(skipped);
        for (n, place) in self.places.iter().enumerate().skip(skipped) {
            if place.by == Some(member) {
                slices.push(self.lines.slice(start..self.end_of(n)));
                start = place.end;
            }
        }
        slices.push(self.lines.slice(start..));
        slices.retain(|slice| !slice.is_empty());
        slices
    }
}

#[cfg(test)]
mod tests {
    use causerie_core::content::body::Body;
    use causerie_core::id::Position;
    use causerie_core::log::page::Standing;
    use cbcast::MessageId;

    use super::*;

    fn record(position: u64, member: MemberId, name: &str, what: What) -> HistoryRecord {
        HistoryRecord {
            position: Position::new(position),
            time_millis: 0,
            id: MessageId::new(member, position),
            deps: Vec::new(),
            member,
            name: name.into(),
            what,
            standing: Standing::AsSaid,
        }
    }

    #[test]
    fn each_is_told_what_others_do() {
        let (ann, raj) = (MemberId::new(0, 1), MemberId::new(0, 2));
        let text = |text: &str| What::Said(Body::Text(text.into()));
        let said = [
            record(1, ann, "Ann", What::Joined),
            record(2, raj, "Raj", What::Joined),
            record(3, ann, "Ann", text("é")),
            record(4, ann, "Ann", What::Said(Body::Unknown(Bytes::from_static(&[99])))),
            record(5, raj, "Raj", What::Said(Body::Reply { to: MessageId::new(ann, 3), text: "ho".into() })),
            record(6, raj, "Raj", text("!")),
            record(7, ann, "Ann", What::Left { reason: String::new() }),
        ];
        let about = |record: &HistoryRecord| (record.position == Position::new(5)).then_some(("Ann", "é"));
        let told = |member, skipped, ascii_only| {
            let rendering = ClassicRendering::new(said.iter().map(|r| (r, about(r))), ascii_only);
            assert_eq!(rendering.is_ascii_only(), ascii_only);
            String::from_utf8(rendering.lines_for(member, skipped).concat()).unwrap()
        };
        let reply = "Raj : (to Ann: \"é\") ho\nRaj : !\nAnn left the chatroom\n";
        assert_eq!(told(ann, 0, false), format!("Raj joined the chatroom\n{reply}"));
        assert_eq!(told(ann, 2, false), reply);
        assert_eq!(told(raj, 1, true), "Ann : \\xe9\nAnn left the chatroom\n");
        assert_eq!(told(raj, 7, false), "");
        let all = "Ann joined the chatroom\nRaj joined the chatroom\nAnn : é\n";
        assert_eq!(told(MemberId::new(0, 3), 0, false), format!("{all}{reply}"));
        // Wherever a reader stops, it goes on with the next byte, and keeps one line at most.
        let rendering = ClassicRendering::new(said.iter().map(|r| (r, about(r))), false);
        for member in [None, Some(ann), Some(raj), Some(MemberId::new(0, 3))] {
            let told = |skipped| match member {
                Some(member) => rendering.lines_for(member, skipped).concat(),
                None => rendering.lines(skipped).to_vec(),
            };
            for skipped in 0..=said.len() {
                let all = told(skipped);
                for taken in 0..=all.len() {
                    let (begun, rest) = rendering.after(member, skipped, taken);
                    assert_eq!([&all[..taken], &rest, &told(begun)].concat(), all, "{taken} of {skipped}");
                    assert!(begun >= skipped && rest.iter().filter(|byte| **byte == b'\n').count() <= 1);
                }
            }
            if let Some(member) = member {
                let is_whole = |skipped| rendering.lines(skipped) == told(skipped);
                let is_left_out = |skipped| rendering.leaves_out(member, skipped);
                assert!((0..=said.len()).all(|skipped| is_left_out(skipped) || is_whole(skipped)));
                assert_eq!(is_left_out(0), member != MemberId::new(0, 3));
            }
        }
    }
}

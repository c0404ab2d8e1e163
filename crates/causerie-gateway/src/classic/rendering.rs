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

    /// The lines for `member`, the first `skipped` records left out: slices of what all share.
    #[must_use]
    pub fn lines_for(&self, member: MemberId, skipped: usize) -> Vec<Bytes> {
        let end_of =
            |n: usize| n.checked_sub(1).map_or(0, |n| self.places.get(n).map_or(self.lines.len(), |p| p.end));
        let mut slices = Vec::new();
        let mut start = end_of(skipped);
        for (n, place) in self.places.iter().enumerate().skip(skipped) {
            if place.by == Some(member) {
                slices.push(self.lines.slice(start..end_of(n)));
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
    }
}

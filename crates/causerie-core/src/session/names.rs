//! Who is in a room and what members are called, those too whose messages are still to come.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::MemberId;

use crate::wire::MemberInfo;

/// More members than a server's room can have, with those who have left and whose messages are among the history.
const MEMBERS_MAX: usize = 1 << 17;
/// Bytes of all their names: what one frame of a server can have.
const BYTES_MAX: usize = 16 << 20;

/// Names by member, up to what a client spends on them.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: BTreeMap<MemberId, String>,
    present: BTreeSet<MemberId>,
    bytes: usize,
}

impl Names {
    pub(super) fn get(&self, member: MemberId) -> Option<&String> {
        self.names.get(&member)
    }

    /// Takes note of a name. `false` where that would be too much.
    #[must_use]
    pub(super) fn add(&mut self, member: MemberId, name: String, present: bool) -> bool {
        if !self.names.contains_key(&member) && self.names.len() >= MEMBERS_MAX {
            return false;
        }
        self.bytes += name.len();
        let before = self.names.insert(member, name);
        self.bytes -= before.map_or(0, |name| name.len());
        if present {
            self.present.insert(member);
        }
        self.bytes <= BYTES_MAX
    }

    /// Forgets who has left. What the member was called.
    pub(super) fn remove(&mut self, member: MemberId) -> Option<String> {
        self.present.remove(&member);
        let name = self.names.remove(&member)?;
        self.bytes -= name.len();
        Some(name)
    }

    pub(super) fn is_present(&self, member: MemberId) -> bool {
        self.present.contains(&member)
    }

    /// Returns those who are in, in order of joining.
    pub(super) fn present(&self) -> Vec<MemberInfo> {
        let info = |&member: &MemberId| MemberInfo {
            member,
            name: self.get(member).cloned().unwrap_or_default(),
            present: true,
        };
        self.present.iter().map(info).collect()
    }

    /// Everybody, with whether they are in.
    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = (MemberId, &String, bool)> {
        self.names.iter().map(|(&member, name)| (member, name, self.is_present(member)))
    }
}

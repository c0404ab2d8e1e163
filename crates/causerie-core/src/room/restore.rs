//! A room made of what was stored.

use std::collections::{BTreeMap, BTreeSet};

use cbcast::{Group, Link, MemberId, Snapshot};

use super::Room;
use super::checkpoint::{Epochs, NewOrigin, RoomCheckpoint};
use super::error::RestoreError;
use super::journal::{Journal, Stored};
use super::roster::{Departed, MemberRecord, Pass, Person, Secrets};
use super::settings::{Now, RoomSettings};
use crate::content::name::Name;
use crate::id::Position;
use crate::log::Record;

/// Origins of a room that are still known at most: a message refers to older ones no more.
const ORIGINS_MAX: usize = 200;

impl Room {
    /// Makes the room that was stored, with nobody connected: the grace of those who can come back begins now, and the
    /// others, whose connections were all that they were, are declared left. `records` are those behind the checkpoint,
    /// in order.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        now: Now,
        origin: u32,
        stored: Stored,
        records: impl IntoIterator<Item = Record>,
        settings: RoomSettings,
        vectors: bool,
    ) -> Result<Self, RestoreError> {
        let (position, RoomCheckpoint { snapshot, epochs }, host) = match &stored.checkpoint {
            Some((position, state)) => {
                let state = RoomCheckpoint::decode(state, stored.epoch)?;
                let host = state.host().ok_or(RestoreError::NoHost)?;
                (*position, state, host)
            }
            None => {
                let (snapshot, epochs) = (Snapshot::hosts([origin]), Epochs::new(stored.epoch));
                (Position::START, RoomCheckpoint { snapshot, epochs }, MemberId::host(origin))
            }
        };
        let journal = Journal::new(position, stored.first);
        let mut room = Self::at(stored.name, &snapshot, host, epochs, journal, settings, vectors)?;
        room.topic = stored.topic;
        for Record { position, message, .. } in records {
            let id = message.id();
            let fits = position == room.position() + 1
                && match id.member == host {
                    true => room.group.readopt(now.time, message),
                    false => room.group.handle_message(now.time, Link::Relay, message).is_ok(),
                };
            while room.group.poll_output().is_some() {}
            if !fits || !room.group.has_delivered(id) {
                return Err(RestoreError::Record { position });
            }
            room.journal.restored(position);
        }
        let (mut hosted, mut gone) = (Vec::new(), Vec::new());
        for record in stored.members {
            let MemberRecord { member, name, joined_at, left_at, taken, secrets } = record;
            let name = Name::known(&name);
            if let Some(left_at) = left_at {
                room.roster.remember(member, Departed { name, joined_at, left_at, taken, secrets });
                continue;
            }
            let pass = secrets.map(|secrets| Pass::new(secrets, now.time));
            match secrets {
                None => gone.push(member),
                Some(Secrets::Bearer { .. }) => hosted.push(member),
                Some(Secrets::Key(_)) => {}
            }
            let delivered = room.group.delivered(member).filter(|_| !member.is_host());
            let delivered = delivered.ok_or(RestoreError::Member { member })?;
            room.roster.add(member, Person { name, joined_at, delivered, pass });
        }
        // Of those who speak through here.
        if !hosted.is_empty() {
            let config = room.group.config().clone();
            room.group = Group::new(config, &room.group.snapshot(), hosted.into_iter().chain([host]))?;
        }
        for member in gone {
            room.part(now, member, "the server was restarted");
        }
        let nobody = |m: &MemberId| !m.is_host() && !room.is_present(*m);
        let lost: Vec<_> = room.group.clock().iter().map(|(m, _)| m).filter(nobody).collect();
        for member in lost {
            let parted = room.group.part(now.time, host, member, b"what was kept of this member is damaged");
            parted.map_err(|_| RestoreError::Member { member })?;
        }
        room.drain(now);
        Ok(room)
    }

    /// Makes the room that was stored, behind its last record, where the state at that record cannot be known or others
    /// may have seen another continuation: a copy was put in place, or a part of the log cannot be read. Nobody is in: all
    /// memberships are over, of everybody so much is `taken`, and whoever comes back joins as a new member, of another
    /// origin, so that no id is ever given out twice. Where they knew the log up to now, they go on from there.
    #[must_use]
    pub fn renew(
        new: NewOrigin,
        stored: Stored,
        taken: &BTreeMap<MemberId, u64>,
        settings: RoomSettings,
        vectors: bool,
    ) -> Self {
        let NewOrigin { origin, epoch } = new;
        let checkpoint = stored.checkpoint.as_ref();
        let state = checkpoint.and_then(|(_, state)| RoomCheckpoint::decode(state, stored.epoch).ok());
        let known = state.is_some();
        let RoomCheckpoint { snapshot: before, mut epochs } = state.unwrap_or_else(|| RoomCheckpoint {
            snapshot: Snapshot::default(),
            epochs: Epochs::new(stored.epoch),
        });
        let of_members = stored.members.iter().map(|m| m.member).chain(taken.keys().copied());
        let of_state = before.next_ordinals.iter().map(|&(origin, _)| origin);
        let mut origins: BTreeSet<u32> = of_members.map(|member| member.origin).chain(of_state).collect();
        // Without its state it is not known whether it has begun anew before, and with which epoch.
        epochs.renew(epoch, (known || origins.len() <= 1).then_some(stored.last));
        while origins.len() >= ORIGINS_MAX {
            origins.pop_first();
        }
        // How many they have admitted is not known, and none is admitted again.
        let mut snapshot = Snapshot::hosts([origin]);
        snapshot.next_ordinals.extend(origins.into_iter().map(|origin| (origin, u32::MAX)));
        snapshot.next_ordinals.sort_unstable();
        let journal = Journal::new(stored.last, stored.first);
        let host = MemberId::host(origin);
        let room = Self::at(stored.name, &snapshot, host, epochs, journal, settings, vectors);
        let mut room = room.expect("one host, few origins, and limits that can be");
        room.topic = stored.topic;
        room.journal.require_checkpoint();
        for MemberRecord { member, name, joined_at, left_at, taken: noted, secrets } in stored.members {
            let name = Name::known(&name);
            let taken = noted.max(before.clock.get(member)).max(taken.get(&member).copied().unwrap_or(0));
            let was_in = left_at.is_none();
            let left_at = left_at.unwrap_or(stored.last);
            room.roster.remember(member, Departed { name, joined_at, left_at, taken, secrets });
            if was_in {
                room.note_member(member);
            }
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cbcast::{Kind, Message, MessageId, VectorClock};

    use super::*;
    use crate::content::body::Body;
    use crate::id::Epoch;
    use crate::room::testing::{Disk, at, client, packet, room, texts};
    use crate::room::{ResumeError, Resumed};

    #[test]
    fn a_room_that_begins_anew_gives_out_no_id_twice_and_goes_on_with_its_log() {
        let mut disk = Disk::default();
        let mut room = room(RoomSettings::default());
        let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        let mut raj = client(&welcome);
        for text in ["one", "two"] {
            room.receive(at(0), seat, packet(&mut raj, seat.member, text)).unwrap();
        }
        disk.store(&mut room);
        let renew = |disk: &Disk, origin, epoch| {
            let stored = disk.stored();
            Room::renew(
                NewOrigin { origin, epoch: Epoch::new(epoch) },
                stored,
                &BTreeMap::from([(seat.member, 2)]),
                RoomSettings::default(),
                false,
            )
        };
        let mut room = renew(&disk, 5, 8);
        assert_eq!(
            (room.epoch(), room.position(), room.members().len()),
            (Epoch::new(8), Position::new(3), 0)
        );
        disk.store(&mut room);
        // Stored and read again it is the same.
        let mut room = disk.restore(at(0)).unwrap();
        assert_eq!((room.epoch(), room.position()), (Epoch::new(8), Position::new(3)));
        let clock = raj.clock();
        let knew =
            room.resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::new(3), &clock).unwrap_err();
        assert_eq!(knew, ResumeError::Expired { taken: 2 });
        let more =
            room.resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::new(4), &clock).unwrap_err();
        assert_eq!(more, ResumeError::Diverged { taken: 2 }, "it has seen another continuation");
        let (again, welcome) =
            room.join(at(0), "Raj", [3; 32], Some((Epoch::new(7), Position::new(4)))).unwrap();
        assert_eq!(again.member, MemberId::new(5, 1));
        assert_eq!(
            (welcome.epoch, welcome.shared, welcome.first, welcome.gap_from),
            (Epoch::new(8), Some(Position::new(3)), Position::new(4), None)
        );
        let mut raj = client(&welcome);
        assert!(raj.has_delivered(MessageId::new(seat.member, 2)), "what is in the log can be referred to");
        room.receive(at(0), again, packet(&mut raj, again.member, "three")).unwrap();
        disk.store(&mut room);

        // And again: who knew the first continuation shares less than who knew the second.
        let mut room = renew(&disk, 6, 9);
        disk.store(&mut room);
        let (_, early) = room.join(at(0), "Ann", [5; 32], Some((Epoch::new(7), Position::new(5)))).unwrap();
        let (late, welcome) =
            room.join(at(0), "Eve", [7; 32], Some((Epoch::new(8), Position::new(5)))).unwrap();
        assert_eq!((early.shared, welcome.shared), (Some(Position::new(3)), Some(Position::new(5))));
        let (_, behind) = room.join(at(0), "Kim", [10; 32], Some((Epoch::new(7), Position::FIRST))).unwrap();
        assert_eq!(
            (behind.shared, behind.first),
            (Some(Position::new(3)), Position::new(2)),
            "it may have delivered more than is placed"
        );
        assert_eq!(late.member, MemberId::new(6, 2));
        let (_, other) = room.join(at(0), "Bob", [9; 32], Some((Epoch::new(77), Position::new(5)))).unwrap();
        assert_eq!((other.shared, other.first), (None, Position::FIRST));
    }

    #[test]
    fn a_member_without_a_row_leaves_and_a_row_without_a_member_is_no_room() {
        let mut disk = Disk::default();
        let mut room = room(RoomSettings::default());
        let (seat, _) = room.join(at(0), "Raj", [1; 32], None).unwrap();
        disk.store(&mut room);
        let row = disk.members.remove(&seat.member).unwrap();
        let room = disk.restore(at(0)).unwrap();
        assert_eq!(texts(&room), ["-"]);
        disk.records.clear();
        disk.members.insert(seat.member, row);
        assert_eq!(disk.restore(at(0)).unwrap_err(), RestoreError::Member { member: seat.member });
    }

    #[test]
    fn what_was_stored_is_the_same_room_again() {
        for checkpointed in [false, true] {
            let mut disk = Disk::default();
            let mut room = room(RoomSettings::default());
            let (seat, welcome) = room.join(at(0), "Raj", [1; 32], None).unwrap();
            let (gone, _) = room.join(at(0), "Eve", [4; 32], None).unwrap();
            let ann = room.join_hosted(at(0), "Ann").unwrap();
            let mut raj = client(&welcome);
            room.receive(at(0), seat, packet(&mut raj, seat.member, "hi")).unwrap();
            disk.store(&mut room);
            if checkpointed {
                room.ask_for_checkpoint();
            }
            disk.store(&mut room);
            assert_eq!(disk.checkpoint.is_some(), checkpointed);
            room.say(at(0), ann, &Body::Text("hello".into())).unwrap();
            room.part(at(0), gone.member, "");
            disk.store(&mut room);
            assert_eq!(room.take_batch(), None);
            // Never stored, so it never was.
            room.receive(at(0), seat, packet(&mut raj, seat.member, "again")).unwrap();

            let mut room = disk.restore(at(100)).unwrap();
            let names: Vec<_> = room.members().into_iter().map(|m| m.name).collect();
            assert_eq!(names, ["Raj"], "who was a connection only has left");
            let Err(gone) =
                room.resume(at(0), gone.member, [4; 32], Epoch::new(7), Position::FIRST, &VectorClock::new())
            else {
                panic!()
            };
            assert_eq!(gone, ResumeError::Expired { taken: 0 });
            assert_eq!(room.poll_timeout(), Some(at(700).time), "grace begins anew");
            let clock = client(&welcome).clock();
            let (seat, resumed) =
                room.resume(at(0), seat.member, [1; 32], Epoch::new(7), Position::FIRST, &clock).unwrap();
            assert!(matches!(resumed, Resumed::Here { taken: 1 }));
            assert_eq!(room.position(), Position::new(disk.records.len() as u64 + 1), "and Ann's farewell");
            let next = room.join_hosted(at(100), "Ann").unwrap();
            assert_eq!(next.ordinal, ann.ordinal + 1, "no ordinal is given out twice");
            let m = Message::new(MessageId::new(seat.member, 2), Kind::Data, &[], b"\x01again").unwrap();
            room.receive(at(100), seat, m.into_packet()).unwrap();
            assert_eq!(texts(&room), ["-", "+Ann", "again"]);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_no_room() {
        let mut disk = Disk::default();
        let mut room = room(RoomSettings::default());
        let ann = room.join_hosted(at(0), "Ann").unwrap();
        room.say(at(0), ann, &Body::Text("one".into())).unwrap();
        room.say(at(0), ann, &Body::Text("two".into())).unwrap();
        disk.store(&mut room);
        disk.records.remove(1);
        assert_eq!(disk.restore(at(0)).unwrap_err(), RestoreError::Record { position: Position::new(3) });
        disk.checkpoint = Some((Position::START, Bytes::from_static(b"no")));
        assert!(matches!(disk.restore(at(0)), Err(RestoreError::Checkpoint(_))));
    }
}

//! The feature `serde`: what an application keeps beside its own state comes back as it was.

#![cfg(feature = "serde")]

use cbcast::{Config, Group, MemberId, MessageId, MissingRange, Snapshot, Time};

#[test]
fn ids_clocks_and_snapshots_come_back_as_they_were() {
    let [ann, bob] = [MemberId::new(0, 0), MemberId::new(3, 1)];
    let mut group = Group::new(Config::relay(), &Snapshot::fixed([ann, bob]), [ann]).unwrap();
    group.broadcast(Time::ZERO, ann, b"x").unwrap();
    let kept = (group.snapshot(), group.clock(), MessageId::new(bob, u64::MAX), Time::from_nanos(7));
    let range = MissingRange { member: bob, from: 1, to: 3 };
    let json = serde_json::to_string(&(&kept, range)).unwrap();
    let read: ((Snapshot, _, _, _), MissingRange) = serde_json::from_str(&json).unwrap();
    assert_eq!(read, (kept.clone(), range));
    let again = Group::new(Config::relay(), &read.0.0, [ann]).unwrap();
    assert_eq!((again.snapshot(), again.clock()), (kept.0, kept.1));
}

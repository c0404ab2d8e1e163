//! Snapshots and exports cost what they hold: bytes of memory for bytes that came, however they are put together.
//!
//! One test only: the allocator is counted for the whole process.

use cbcast::wire::{Reader, put_varint};
use cbcast::{Config, Group, MemberId, Snapshot};

mod counting;

/// Bytes that a member takes here for each of the three that it takes in a snapshot, and something beside.
const BYTES_FOR_A_BYTE: usize = 200;

/// Bytes that were live at most while this was done, beside those before.
fn most<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = counting::live();
    counting::forget_most();
    let result = act();
    (counting::most() - before, result)
}

#[test]
fn what_comes_from_others_costs_what_it_holds() {
    // Members as far apart as their numbers allow, and one of each of many origins.
    let far = Snapshot::fixed((0..1_500).map(|n| MemberId::new(0, n << 20)));
    let origins = Snapshot::fixed((0..1_500).map(|n| MemberId::new(n, (1 << 20) - 1)));
    let dense = Snapshot::fixed((0..3_000).map(|n| MemberId::new(0, n)));
    for (what, snapshot) in [("far apart", far), ("of many origins", origins), ("dense", dense)] {
        let mut bytes = Vec::new();
        snapshot.encode(&mut bytes);
        for config in [Config::relay(), Config::mesh()] {
            let start = || {
                let snapshot = Snapshot::decode(&mut Reader::new(&bytes)).unwrap();
                Group::new(config.clone(), &snapshot, []).unwrap()
            };
            let (most, _) = most(start);
            let allowed = BYTES_FOR_A_BYTE * bytes.len();
            assert!(most < allowed, "members {what}, retain {}: {most} for {}", config.retain, bytes.len());
        }
    }

    // A count of messages that nothing is said of, and at the end of it one message.
    let host = MemberId::new(0, 0);
    let mut snapshot = Snapshot::fixed([host]);
    snapshot.clock.set(host, 1 << 24);
    let group = Group::new(Config::mesh(), &snapshot, [host]).unwrap();
    let export = group.export().unwrap();
    let mut clock = Vec::new();
    snapshot.clock.encode(&mut clock);
    // The last of the clocks is of what is stable: nothing of it, now.
    let at = export.windows(clock.len()).rposition(|bytes| bytes == clock).unwrap();
    snapshot.clock.set(host, 0);
    let mut forged = export[..at].to_vec();
    snapshot.clock.encode(&mut forged);
    let packet = cbcast::Message::new(cbcast::MessageId::new(host, 1 << 24), cbcast::Kind::Data, &[], b"x");
    let packet = packet.unwrap().into_packet();
    for count in [1, packet.len() as u64] {
        put_varint(&mut forged, count);
    }
    forged.extend_from_slice(&packet);
    forged.extend_from_slice(&[0; 4]);
    let (most, imported) = most(|| Group::import(Config::mesh(), &forged).map(|_| ()));
    assert!(imported.is_err(), "{imported:?}");
    assert!(most < BYTES_FOR_A_BYTE * forged.len() + 4_096, "{most} for {}", forged.len());
}

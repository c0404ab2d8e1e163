//! Clocks and snapshots: refused, or written down as the same bytes; clocks are ordered consistently.
#![no_main]

use cbcast::wire::Reader;
use cbcast::{Snapshot, VectorClock};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(data);
    if let Ok(clock) = VectorClock::decode(&mut reader) {
        let mut out = Vec::new();
        clock.encode(&mut out);
        assert_eq!(out, data[..reader.position()], "one clock, one encoding");
        assert!(clock.iter().all(|(member, count)| clock.get(member) == count && clock.knows(member)));
        if let Ok(other) = VectorClock::decode(&mut reader) {
            let reverse = other.partial_cmp(&clock).map(std::cmp::Ordering::reverse);
            assert_eq!(clock.partial_cmp(&other), reverse);
        }
    }
    let mut reader = Reader::new(data);
    if let Ok(snapshot) = Snapshot::decode(&mut reader) {
        let mut out = Vec::new();
        snapshot.encode(&mut out);
        assert_eq!(out, data[..reader.position()], "one snapshot, one encoding");
        assert_eq!(Snapshot::decode(&mut Reader::new(&out)), Ok(snapshot));
    }
});

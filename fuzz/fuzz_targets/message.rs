//! Whatever bytes arrive: refused, or a message that is written down as the same bytes.
#![no_main]

use bytes::Bytes;
use cbcast::{Kind, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(&message.packet()[..], data);
    assert!(message.id().seq > 0);
    assert!(message.stamp_bytes() <= data.len());
    let payload = message.payload();
    assert!(data.ends_with(&payload));
    let mut deps: Vec<_> = message.deps().collect();
    assert!(deps.iter().all(|dep| dep.seq > 0 && dep.member != message.id().member));
    if let Kind::Joined(member) | Kind::Left { member, .. } = message.kind() {
        assert!(message.id().member.is_host() && !member.is_host());
    }
    deps.sort();
    let again = Message::new(message.id(), message.kind(), &deps, &payload).expect("it was one");
    assert_eq!(again, message, "one message, one encoding");
    assert_eq!(&again.packet()[..], data);
    let _ = format!("{message:?}");
});

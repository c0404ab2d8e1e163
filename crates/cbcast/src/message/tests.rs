use super::*;
use alloc::collections::BTreeMap;
use alloc::vec;
use proptest::prelude::*;

fn id(origin: u32, ordinal: u32, seq: u64) -> MessageId {
    MessageId::new(MemberId::new(origin, ordinal), seq)
}

fn packet(bytes: &[u8]) -> Result<Message, DecodeError> {
    Message::decode(Bytes::copy_from_slice(bytes))
}

#[test]
fn a_chat_stamp_is_a_few_bytes() {
    let m = Message::new(id(0, 7, 90), Kind::Data, &[id(0, 3, 88)], b"hi").unwrap();
    assert_eq!(&m.packet()[..], [0, 0, 7, 90, 2, 3, 3, b'h', b'i']);
    assert_eq!(m.stamp_bytes(), 4);
    assert_eq!(m.payload(), "hi");
}

#[test]
fn impossible_stamps_are_refused_by_name() {
    assert_eq!(packet(&[0, 0, 1, 0, 0]), Err(DecodeError::SeqZero));
    assert_eq!(packet(&[9, 0, 1, 1, 0]), Err(DecodeError::UnknownKind(9)));
    assert_eq!(packet(&[0, 0, 1, 1, 2, 1, 0]), Err(DecodeError::DependencyOnSender));
    assert_eq!(packet(&[0, 0, 1, 1, 2, 2, 1]), Err(DecodeError::DependencyRange), "seq 0 of another");
    assert_eq!(packet(&[0, 0, 1, 1, 1, 1, 0, 1, 2, 0]), Err(DecodeError::DependenciesUnsorted));
    let twice = [0, 0, 1, 1, 1, 2, 5, 1, 2, 0, 5, 1, 2, 0];
    assert_eq!(packet(&twice), Err(DecodeError::DependenciesUnsorted));
    assert_eq!(packet(&[1, 0, 1, 1, 0, 2]), Err(DecodeError::NotHost), "a guest announces a member");
    assert_eq!(packet(&[1, 0, 0, 1, 0, 0]), Err(DecodeError::NotHost), "a host announces itself");
    let many = [0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(packet(&many), Err(DecodeError::Wire(WireError::Truncated)), "a count without its entries");
    assert_eq!(
        Message::new(id(0, 1, 1), Kind::Data, &[id(0, 2, 1), id(0, 2, 2)], b""),
        Err(DecodeError::DependenciesUnsorted)
    );
}

fn dep_map() -> impl Strategy<Value = BTreeMap<(u32, u32), u64>> {
    let member = (prop_oneof![0u32..3, any::<u32>()], prop_oneof![0u32..40, any::<u32>()]);
    prop::collection::btree_map(member, prop_oneof![1u64..300, 1..u64::MAX / 2], 0..12)
}

proptest! {
    #[test]
    fn messages_round_trip(
        origin in 0u32..3,
        ordinal: u32,
        seq in prop_oneof![1u64..300, 1..u64::MAX / 2],
        mut deps in dep_map(),
        payload: Vec<u8>,
    ) {
        deps.remove(&(origin, ordinal));
        let deps: Vec<_> = deps.into_iter().map(|((o, n), s)| id(o, n, s)).collect();
        let m = Message::new(id(origin, ordinal, seq), Kind::Data, &deps, &payload).unwrap();
        let again = Message::decode(m.packet().clone()).unwrap();
        prop_assert_eq!(&again, &m);
        prop_assert_eq!(again.payload(), payload);
        let mut read: Vec<_> = again.deps().collect();
        read.sort();
        prop_assert_eq!(read, deps);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop_oneof![
        any::<Vec<u8>>(),
        prop::collection::vec(0u8..4, 0..24),
    ]) {
        if let Ok(m) = packet(&bytes) {
            let mut deps: Vec<_> = m.deps().collect();
            deps.sort();
            let again = Message::new(m.id(), m.kind(), &deps, &m.payload()).unwrap();
            prop_assert_eq!(&again.packet()[..], &bytes[..], "one message, one encoding");
        }
    }
}

#[test]
fn kinds_of_hosts_and_of_who_signs_are_refused_where_they_cannot_be() {
    let host = id(4, 0, 9);
    let clock = |members: &[(u32, u32)]| members.iter().map(|&(o, n)| (MemberId::new(o, n), 1)).collect();
    let new = |id, kind| Message::new(id, kind, &[], b"").map(drop);
    let expelled = |members: &[(u32, u32)]| Kind::Expelled { home: 4, counts: clock(members) };
    assert_eq!(new(host, Kind::Hosted { origin: 5, server: 1 }), Ok(()));
    assert_eq!(new(host, Kind::Hosted { origin: 4, server: 1 }), Err(DecodeError::NotHost));
    assert_eq!(new(id(4, 1, 9), Kind::Hosted { origin: 5, server: 1 }), Err(DecodeError::NotHost));
    assert_eq!(new(host, expelled(&[(3, 0), (3, 7), (5, 0)])), Ok(()));
    assert_eq!(new(host, expelled(&[(3, 0), (4, 0)])), Err(DecodeError::NotHost));
    assert_eq!(new(id(4, 1, 9), expelled(&[(3, 0)])), Err(DecodeError::NotHost));
    for members in [&[][..], &[(3, 1)], &[(3, 0), (5, 2)]] {
        assert_eq!(new(host, expelled(members)), Err(DecodeError::ExpelledWithoutHost));
    }
    let data = Message::new(id(4, 1, 9), Kind::Data, &[host], b"hi").unwrap();
    let signature = Signature { signature: [1; 64], links: Some([2; 32]) };
    let signed = data.signed(signature).unwrap();
    assert_eq!((signed.kind(), signed.stamp_bytes()), (Kind::Signed(signature), data.stamp_bytes()));
    let mut flags = signed.packet().to_vec();
    flags[signed.stamp.extra_at as usize] = 2;
    assert_eq!(packet(&flags), Err(DecodeError::UnknownFlags(2)));
    let emptied = signed.emptied([3; 32]).unwrap();
    assert_eq!(emptied.kind(), Kind::Emptied { signature, payload: [3; 32] });
    let more = [&emptied.packet()[..], b"x"].concat();
    assert_eq!(packet(&more), Err(DecodeError::NotEmpty));
    assert_eq!(emptied.signed(signature).map(drop), Err(DecodeError::UnknownKind(EMPTIED)));
    let hosted = Message::new(host, Kind::Hosted { origin: 5, server: 1 }, &[], b"lyon").unwrap();
    let (kind, covered) = hosted.signed_part();
    assert_eq!((kind, covered.len()), (HOSTED, hosted.packet().len() - 1 - 4), "whom it is about, too");
}

#[test]
fn membership_round_trips() {
    let host = id(4, 0, 9);
    for kind in
        [Kind::Joined(MemberId::new(4, 300)), Kind::Left { member: MemberId::new(4, 1), last_seq: 1 << 40 }]
    {
        let m = Message::new(host, kind.clone(), &[id(4, 1, 3), id(5, 0, 1)], b"Raj").unwrap();
        assert_eq!((m.kind(), &m.payload()[..]), (kind, &b"Raj"[..]));
        assert_eq!(m.deps().collect::<Vec<_>>(), vec![id(4, 1, 3), id(5, 0, 1)]);
    }
}

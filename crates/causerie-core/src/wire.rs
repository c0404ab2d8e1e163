//! The native protocol's frames: what goes over a connection, byte for byte. The specification is
//! `docs/protocol.md`.
//!
//! A connection starts with [`MAGIC`]; then both sides send frames, `length kind body`. A frame of an unknown
//! kind is skipped, and so are bytes after the fields that a version knows: both are how the protocol grows.

mod client;
mod error;
mod fields;
mod frame;
mod record;
mod server;

pub use self::client::{ClientFrame, Direction, HistoryQuestion, Observation, Observed, Place};
pub use self::error::{ErrorCode, ErrorFrame, FrameError};
pub use self::frame::split_frame;
pub use self::record::{Delivered, head};
pub use self::server::{
    BEHIND_MAX, ClosedRoom, Limits, MemberInfo, Page, RoomInfo, ServerFrame, Stable, Watched, Welcome,
};

/// The first bytes of a native connection. The first is no ASCII, and the second does not continue it as UTF-8.
pub const MAGIC: [u8; 4] = [0xCB, b'C', b'S', b'R'];

/// The version spoken here. See [`Hello`](ClientFrame::Hello).
pub const VERSION: u64 = 2;

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use cbcast::{MemberId, MessageId, MissingRange, Snapshot, VectorClock};
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Epoch, Position};
    use crate::key::{Challenge, Proof};

    const fn pos(number: u64) -> Position {
        Position::new(number)
    }

    const RAJ: MemberId = MemberId::new(0, 300);

    fn members() -> Vec<MemberInfo> {
        vec![MemberInfo { member: RAJ, name: "Raj é".into(), present: true }]
    }

    fn question(direction: Direction, place: Place) -> ClientFrame {
        let (room, epoch) = ("lobby".into(), Some(Epoch::new(1 << 60)));
        ClientFrame::History(HistoryQuestion {
            room,
            epoch,
            direction,
            place,
            limit: 300,
            wait_millis: 30_000,
        })
    }

    fn observation(seq: u64, what: Observed) -> Observation {
        Observation { message: MessageId::new(RAJ, seq), what }
    }

    fn client_frames() -> Vec<ClientFrame> {
        let clock: VectorClock = [(RAJ, 7), (MemberId::host(0), 300)].into_iter().collect();
        vec![
            ClientFrame::Hello { oldest: 1, newest: 3, agent: "causerie 0.1".into() },
            ClientFrame::Join {
                room: "lobby".into(),
                name: "Raj".into(),
                proof: Proof { key: [7; 32], signature: [8; 64] },
                create: true,
                maker: Some(Proof { key: [5; 32], signature: [4; 64] }),
                after: Some((Epoch::new(u64::MAX), pos(0))),
            },
            ClientFrame::Resume {
                room: "lobby".into(),
                member: RAJ,
                proof: Proof { key: [9; 32], signature: [6; 64] },
                epoch: Epoch::new(3),
                position: pos(1 << 40),
                clock: clock.clone(),
            },
            ClientFrame::Broadcast(Bytes::from_static(b"packet")),
            ClientFrame::Leave { last_seq: 300 },
            ClientFrame::Ping(u64::MAX),
            ClientFrame::ListRooms,
            ClientFrame::CreateRoom { name: String::new(), port: true, maker: None, temporary: true },
            ClientFrame::CloseRoom {
                name: "lobby".into(),
                operator: "secret".into(),
                maker: Some(Proof { key: [5; 32], signature: [4; 64] }),
            },
            ClientFrame::ListClosedRooms { operator: "secret".into() },
            ClientFrame::OpenRoom { name: "lobby".into(), operator: "secret".into(), number: None },
            ClientFrame::OpenRoom { name: "lobby".into(), operator: "secret".into(), number: Some(300) },
            ClientFrame::Want(vec![MissingRange { member: RAJ, from: 3, to: 9 }]),
            ClientFrame::Clock(clock),
            ClientFrame::ListMembers,
            question(Direction::Before, Place::End),
            question(Direction::After, Place::Position(Position::MAX)),
            question(Direction::Around, Place::Message(MessageId::new(RAJ, 90))),
            question(Direction::After, Place::Time(1_700_000_000_000)),
            ClientFrame::Observed {
                seen: vec![
                    observation(3, Observed::Delivered { held_millis: None }),
                    observation(
                        5,
                        Observed::Held {
                            held_millis: 300,
                            waits_for: MessageId::new(RAJ, 4),
                            clock: Some([(RAJ, 3)].into_iter().collect()),
                        },
                    ),
                    observation(
                        6,
                        Observed::Held { held_millis: 0, waits_for: MessageId::new(RAJ, 5), clock: None },
                    ),
                    observation(5, Observed::Delivered { held_millis: Some(0) }),
                ],
                left_out: 300,
            },
            ClientFrame::Acknowledge(pos(300)),
            ClientFrame::FollowStable,
        ]
    }

    fn server_frames() -> Vec<ServerFrame> {
        let clock: VectorClock = [(RAJ, 7)].into_iter().collect();
        let room = RoomInfo { name: "12344".into(), port: Some(12344), members: 2 };
        vec![
            ServerFrame::Hello {
                version: 2,
                agent: "causerie 0.1".into(),
                challenge: Challenge { server_key: [1; 32], random: [2; 32] },
            },
            ServerFrame::Welcome(Box::new(Welcome {
                room: "lobby".into(),
                created: false,
                member: RAJ,
                epoch: Epoch::new(1 << 60),
                position: pos(90),
                first: pos(41),
                gap_from: Some(pos(7)),
                snapshot: Snapshot {
                    clock: clock.clone(),
                    next_ordinals: vec![(0, 301)],
                    frontier: vec![MessageId::new(RAJ, 7)],
                },
                members: members(),
                limits: Limits {
                    name_chars: 32,
                    text_bytes: 16_384,
                    frame_bytes: 65_536,
                    grace_millis: 600_000,
                },
                shared: Some(pos(6)),
            })),
            ServerFrame::Resumed { taken: 7, position: pos(90) },
            ServerFrame::Delivered(Delivered {
                position: pos(90),
                time_millis: 1_700_000_000_000,
                packet: Bytes::from_static(b"packet"),
            }),
            ServerFrame::Parted { taken: 7 },
            ServerFrame::Pong(0),
            ServerFrame::Rooms(vec![room.clone(), RoomInfo { port: None, ..room.clone() }]),
            ServerFrame::RoomCreated(room),
            ServerFrame::RoomClosed { name: "lobby".into() },
            ServerFrame::Want(vec![MissingRange { member: RAJ, from: 3, to: 3 }]),
            ServerFrame::Clock(clock),
            ServerFrame::Members(members()),
            ServerFrame::Refused { seq: Some(8), is_final: true, reason: "no".into() },
            ServerFrame::Error(ErrorFrame {
                suggestion: Some("Raj2".into()),
                taken: Some(4),
                ..ErrorFrame::fatal(ErrorCode::NameTaken, "taken")
            }),
            ServerFrame::Page(Page {
                room: "lobby".into(),
                epoch: Epoch::new(1 << 60),
                from: pos(1),
                to: pos(300),
                kept: pos(41),
                end: pos(301),
                gaps: vec![(pos(1), pos(40)), (pos(90), pos(90))],
                names: members(),
                revised: vec![(pos(41), true), (pos(50), false)],
                records: Bytes::from_static(b"records"),
            }),
            ServerFrame::Page(Page { from: pos(1), ..Page::default() }),
            ServerFrame::Watched(Watched { observations: true, acknowledgements: false }),
            ServerFrame::Watched(Watched { observations: false, acknowledgements: true }),
            ServerFrame::Stable(Stable { position: pos(300), behind: vec![(RAJ, pos(299))] }),
            ServerFrame::ClosedRooms(vec![ClosedRoom {
                name: "lobby".into(),
                closed_millis: 1_700_000_000_000,
                until_millis: u64::MAX,
                number: 300,
            }]),
        ]
    }

    #[test]
    fn every_frame_round_trips_and_every_cut_of_it_is_refused_or_awaited() {
        let mut all = Vec::new();
        for frame in client_frames() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(frame.clone())));
            for cut in 0..bytes.len() {
                assert_eq!(split_frame(&mut BytesMut::from(&bytes[..cut]), 1 << 20), Ok(None));
            }
            let takes_the_rest = matches!(frame, ClientFrame::Broadcast(_));
            for cut in 0..body.len() {
                let cut = ClientFrame::decode(kind, &body.slice(..cut));
                assert!(takes_the_rest || cut.is_err(), "{frame:?} {cut:?}");
            }
            let mut longer = body.to_vec();
            longer.extend_from_slice(b"tomorrow");
            let longer = ClientFrame::decode(kind, &longer.into());
            assert!(takes_the_rest || longer == Ok(Some(frame)), "later versions append fields");
            all.extend(bytes);
        }
        let mut all = BytesMut::from(&all[..]);
        let count = std::iter::from_fn(|| split_frame(&mut all, 1 << 20).unwrap()).count();
        assert_eq!(count, client_frames().len());
    }

    #[test]
    fn every_server_frame_round_trips() {
        for frame in server_frames() {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            assert_eq!(ServerFrame::decode(kind, &body), Ok(Some(frame.clone())));
            let takes_the_rest = matches!(frame, ServerFrame::Delivered(_));
            for cut in 0..body.len() {
                assert!(
                    takes_the_rest || ServerFrame::decode(kind, &body.slice(..cut)).is_err(),
                    "{frame:?}"
                );
            }
        }
    }

    #[test]
    fn unknown_kinds_are_skipped_and_lengths_are_bounded() {
        let mut buffer = BytesMut::from(&[3, 0x7f, 1, 2, 1, 0x07][..]);
        let (kind, body) = split_frame(&mut buffer, 100).unwrap().unwrap();
        assert_eq!(ClientFrame::decode(kind, &body), Ok(None));
        let (kind, body) = split_frame(&mut buffer, 100).unwrap().unwrap();
        assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(ClientFrame::ListRooms)));

        let too_long = split_frame(&mut BytesMut::from(&[0xff, 0x7f][..]), 100);
        assert_eq!(too_long, Err(FrameError::TooLong { length: 16_383, limit: 100 }));
        assert_eq!(split_frame(&mut BytesMut::from(&[0][..]), 100), Err(FrameError::Empty));
        assert_eq!(split_frame(&mut BytesMut::from(&[0xff; 12][..]), 100), Err(FrameError::Length));
        assert_eq!(split_frame(&mut BytesMut::from(&[0x80, 0][..]), 100), Err(FrameError::Length));
    }

    #[test]
    fn codes_have_one_number_each() {
        for number in 0..100 {
            assert_eq!(ErrorCode::from_number(number).number(), number);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_frames_or_refused(kind: u8, body: Vec<u8>) {
            let body = Bytes::from(body);
            let _ = ClientFrame::decode(kind, &body);
            let _ = ServerFrame::decode(kind, &body);
            let _ = ClientFrame::decode(kind & 0x0f, &body);
            let _ = ServerFrame::decode(0x80 | (kind & 0x1f), &body);
        }

        #[test]
        fn questions_and_pages_round_trip(
            (room, epoch, limit, wait_millis) in any::<(String, u64, u64, u64)>(),
            direction in 0usize..3,
            (kind, a, b, c) in (0u8..4, any::<u32>(), any::<u32>(), any::<u64>()),
            bounds: [u64; 4],
            gaps in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..9),
            records: Vec<u8>,
        ) {
            let direction = [Direction::Before, Direction::After, Direction::Around][direction];
            let place = match kind {
                0 => Place::End,
                1 => Place::Position(pos(c)),
                2 => Place::Message(MessageId::new(MemberId::new(a, b), c)),
                _ => Place::Time(c),
            };
            let asked = HistoryQuestion {
                room: room.clone(),
                epoch: Epoch::read(epoch),
                direction,
                place,
                limit,
                wait_millis,
            };
            let asked = ClientFrame::History(asked);
            let mut bytes = Vec::new();
            asked.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            prop_assert_eq!(ClientFrame::decode(kind, &body), Ok(Some(asked)));

            let [from, to, kept, end] = bounds;
            let gaps = gaps.into_iter().map(|(a, b)| (pos(a.min(b).into()), pos(a.max(b).into()))).collect();
            let names = members();
            let revised = vec![(pos(from), true), (pos(to), false)];
            let page =
                Page { room, epoch: Epoch::new(epoch), from: pos(from), to: pos(to), kept: pos(kept), end: pos(end), gaps, names, revised, records: records.into() };
            let page = ServerFrame::Page(page);
            let mut bytes = Vec::new();
            page.encode(&mut bytes);
            let (kind, body) = split_frame(&mut BytesMut::from(&bytes[..]), 1 << 20).unwrap().unwrap();
            prop_assert_eq!(ServerFrame::decode(kind, &body), Ok(Some(page)));
        }

        #[test]
        fn any_stream_is_split_or_refused(bytes: Vec<u8>, limit in 1usize..300) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some((_, body))) = split_frame(&mut buffer, limit) {
                prop_assert!(body.len() < limit);
            }
        }
    }
}

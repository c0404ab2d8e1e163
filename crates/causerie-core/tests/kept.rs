//! Sessions that are made again of what was kept, in real rooms.

use cbcast::Time;

use causerie_core::content::body::Body;
use causerie_core::content::name::RoomName;
use causerie_core::id::Epoch;
use causerie_core::key::Challenge;
use causerie_core::log::records;
use causerie_core::room::{Now, Room, RoomSettings, Seat};
use causerie_core::session::{Event, Session, SessionConfig, SessionOutput};
use causerie_core::wire::{ClientFrame, Delivered, ErrorCode, ErrorFrame, ServerFrame, VERSION};

fn lets_in(room: &mut Room, session: &mut Session) -> Seat {
    session.connected();
    let (version, agent) = (VERSION, String::new());
    let challenge = Challenge::default();
    session.handle_frame(Time::ZERO, ServerFrame::Hello { version, agent, challenge });
    while let Some(output) = session.poll_output() {
        if let SessionOutput::Send(ClientFrame::Join { name, proof, after, .. }) = output {
            let (seat, welcome) = room.join(Now::default(), &name, proof.key, after).unwrap();
            session.handle_frame(Time::ZERO, ServerFrame::Welcome(Box::new(welcome)));
            return seat;
        }
    }
    panic!("it does not join");
}

#[test]
fn what_was_taken_of_a_lost_membership_and_not_shown_is_told_after_a_kill() {
    let mut room =
        Room::new(RoomName::parse("lobby").unwrap(), 0, Epoch::new(7), RoomSettings::default(), false);
    let mut config = SessionConfig::new("lobby", "Raj", || [7; 32]);
    config.acknowledges = true;
    let mut session = Session::new(config.clone());
    let seat = lets_in(&mut room, &mut session);
    // The application acknowledges that it is in, and is slow then.
    session.acknowledge();
    let id = session.say(Time::ZERO, &Body::Text("early".into())).unwrap().unwrap();
    while let Some(output) = session.poll_output() {
        if let SessionOutput::Send(ClientFrame::Broadcast(packet)) = output {
            room.receive(Now::default(), seat, packet).unwrap();
        }
    }
    room.leave(Now::default(), id.member, 1);
    let expired = ErrorFrame { taken: Some(1), ..ErrorFrame::fatal(ErrorCode::Expired, "away too long") };
    session.handle_frame(Time::ZERO, ServerFrame::Error(expired));

    let mut session = Session::restore(config, &session.keep()).unwrap();
    lets_in(&mut room, &mut session);
    for record in records(room.take_batch().unwrap().records.unwrap().bytes) {
        let (position, time_millis) = (record.position, record.time_millis);
        let packet = record.message.into_packet();
        let delivered = Delivered { position, time_millis, packet };
        session.handle_frame(Time::ZERO, ServerFrame::Delivered(delivered));
    }
    let told = |output| match output {
        SessionOutput::Event(Event::Delivered(post)) if post.id == id => Some(None),
        SessionOutput::Event(Event::Placed { id: placed, position, .. }) if placed == id => {
            Some(Some(position))
        }
        _ => None,
    };
    let told: Vec<_> = std::iter::from_fn(|| session.poll_output()).filter_map(told).collect();
    assert!(matches!(told[..], [None, Some(_)]), "delivered, and placed: {told:?}");
}

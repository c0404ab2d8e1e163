//! Driving single groups by hand, for tests that go step by step.

use cbcast::{Control, Group, Kind, MemberId, Message, MessageId, Output, Packet, Time, Transmit};

/// Returns the id of message `seq` of a member.
#[must_use]
pub const fn id(member: MemberId, seq: u64) -> MessageId {
    MessageId::new(member, seq)
}

/// Makes a message that says "x".
///
/// # Panics
/// If there can be no such message.
#[must_use]
pub fn message(member: MemberId, seq: u64, deps: &[MessageId]) -> Message {
    Message::new(id(member, seq), Kind::Data, deps, b"x").expect("a test names what can be")
}

/// Drains a group and returns its outputs.
pub fn outputs(group: &mut Group) -> Vec<Output> {
    std::iter::from_fn(|| group.poll_output()).collect()
}

/// Drains a group and returns the messages that it sends to everybody.
pub fn sent(group: &mut Group) -> Vec<Message> {
    outputs(group).iter().filter_map(Output::sent).cloned().collect()
}

/// Drains a group and returns the ids of what it has delivered.
pub fn delivered(group: &mut Group) -> Vec<MessageId> {
    let id = |output| if let Output::Deliver { message, .. } = output { Some(message.id()) } else { None };
    outputs(group).into_iter().filter_map(id).collect()
}

/// Drains a group and returns what it sends beside messages, each to one member.
pub fn controls(group: &mut Group) -> Vec<(MemberId, Control)> {
    let to_one = |output| match output {
        Output::Transmit(Transmit { to: Some(to), packet: Packet::Control(control) }) => Some((to, control)),
        _ => None,
    };
    outputs(group).into_iter().filter_map(to_one).collect()
}

/// Has a local member say "x" at the beginning of time, and returns the message.
///
/// # Panics
/// If it may not speak.
pub fn say(group: &mut Group, me: MemberId) -> Message {
    group.broadcast(Time::ZERO, me, b"x").expect("a test lets those speak who may");
    sent(group).pop().expect("what is said is sent")
}

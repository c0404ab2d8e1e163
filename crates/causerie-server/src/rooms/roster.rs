//! Who is in a room, written once for all who ask while nobody comes or goes.

use std::sync::Arc;

use bytes::Bytes;
use causerie_core::room::Room;
use causerie_core::wire::ServerFrame;
use causerie_gateway::api::{ListedMember, to_json};

#[derive(Default)]
pub(crate) struct RenderedRoster {
    /// The [`Room::roster`] that was written.
    written: u64,
    frame: Bytes,
    json: Option<Arc<str>>,
}

impl RenderedRoster {
    /// The frame that answers native clients.
    pub(crate) fn frame(&mut self, room: &Room) -> Bytes {
        self.keep_up(room);
        if self.frame.is_empty() {
            let mut frame = Vec::new();
            ServerFrame::Members(room.members()).encode(&mut frame);
            self.frame = frame.into();
        }
        self.frame.clone()
    }

    /// The members as a list of JSON.
    pub(crate) fn json(&mut self, room: &Room) -> Arc<str> {
        self.keep_up(room);
        let json = self.json.get_or_insert_with(|| {
            let members: Vec<_> = room.members().into_iter().map(ListedMember::from).collect();
            to_json(&members).into()
        });
        Arc::clone(json)
    }

    fn keep_up(&mut self, room: &Room) {
        if self.written != room.roster() {
            *self = Self { written: room.roster(), ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use causerie_core::content::name::RoomName;
    use causerie_core::room::{Now, RoomSettings};

    use super::*;

    #[test]
    fn it_is_written_once_while_nobody_comes_or_goes() {
        let now = Now { time: cbcast::Time::ZERO, wall_millis: 0 };
        let name = RoomName::parse("lobby").unwrap();
        let mut room = Room::new(name, 0, causerie_core::id::Epoch::new(1), RoomSettings::default(), false);
        let ann = room.join_hosted(now, "Ann").unwrap();
        let mut roster = RenderedRoster::default();
        let (frame, json) = (roster.frame(&room), roster.json(&room));
        room.say(now, ann, &causerie_core::content::body::Body::Text("hello".into())).unwrap();
        assert_eq!(roster.frame(&room).as_ptr(), frame.as_ptr());
        assert!(Arc::ptr_eq(&roster.json(&room), &json));
        room.join_hosted(now, "Raj").unwrap();
        let names = |json: &str| json.matches("\"name\"").count();
        assert_eq!((names(&json), names(&roster.json(&room))), (1, 2));
        assert!(roster.frame(&room).len() > frame.len());
        room.part(now, ann, "");
        assert_eq!(&roster.json(&room)[..], r#"[{"member":"0.2","name":"Raj"}]"#);
    }
}

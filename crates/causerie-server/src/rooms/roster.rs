//! Who is in a room, rendered once for all who ask while nobody comes or goes.

use std::sync::Arc;

use causerie_core::room::Room;
use causerie_core::wire::MemberInfo;

use crate::rooms::renderings::Renderings;

#[derive(Default)]
pub(crate) struct RenderedRoster {
    /// The [`Room::roster`] that was rendered.
    rendered: u64,
    renderings: Renderings,
}

impl RenderedRoster {
    /// Returns the rendering of this kind of who is in.
    pub(crate) fn rendering<R: Send + Sync + 'static>(
        &mut self,
        room: &Room,
        make: impl FnOnce(Vec<MemberInfo>) -> R,
    ) -> Arc<R> {
        if self.rendered != room.roster() {
            *self = Self { rendered: room.roster(), ..Self::default() };
        }
        self.renderings.get(|_| true, || make(room.members()))
    }
}

#[cfg(test)]
mod tests {
    use causerie_core::content::name::RoomName;
    use causerie_core::room::{Now, RoomSettings};

    use super::*;

    #[test]
    fn it_is_rendered_once_while_nobody_comes_or_goes() {
        let now = Now { time: cbcast::Time::ZERO, wall_millis: 0 };
        let name = RoomName::parse("lobby").unwrap();
        let mut room = Room::new(name, 0, causerie_core::id::Epoch::new(1), RoomSettings::default(), false);
        let ann = room.join_hosted(now, "Ann").unwrap();
        let mut roster = RenderedRoster::default();
        let mut names = |room: &Room| {
            roster.rendering(room, |members| members.into_iter().map(|info| info.name).collect::<Vec<_>>())
        };
        let first = names(&room);
        room.say(now, ann, &causerie_core::content::body::Body::Text("hello".into())).unwrap();
        assert!(Arc::ptr_eq(&names(&room), &first));
        room.join_hosted(now, "Raj").unwrap();
        assert_eq!(
            (&first[..], &names(&room)[..]),
            (&["Ann".to_owned()][..], &["Ann".into(), "Raj".into()][..])
        );
        room.part(now, ann, "");
        assert_eq!(names(&room)[..], ["Raj"]);
    }
}

//! Messages of one member that have been received and not delivered.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::message::Stamp;
use crate::time::Time;

/// A message that waits for its turn: 64 bytes. Its id follows from its place.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) packet: Bytes,
    pub(crate) stamp: Stamp,
    pub(crate) since: Time,
}

// Where pointers have 32 bits it is less.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Held>>() == 64);

/// Received and not delivered: place `i` is message `delivered + 1 + i` of the member, or missing. The last place is
/// never empty. Its bytes are counted as they come and go, since each arrival asks for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    places: VecDeque<Option<Held>>,
    bytes: usize,
}

impl Ring {
    /// Number of places: the missing ones count.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of the packets.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The next message of the member, if it is here.
    pub(crate) fn next(&self) -> Option<&Held> {
        self.places.front()?.as_ref()
    }

    /// The message that has `ahead` others before it.
    pub(crate) fn get(&self, ahead: u64) -> Option<&Held> {
        // Not cut off to the size of a pointer, which may have 32 bits.
        self.places.get(usize::try_from(ahead).ok()?)?.as_ref()
    }

    /// Messages that are here, in order, each with the number of those before it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Held)> + '_ {
        self.places.iter().enumerate().filter_map(|(i, place)| Some((i as u64, place.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> + '_ {
        self.places.iter_mut().flatten()
    }

    /// Number of messages missing before the first that is here.
    pub(crate) fn missing_first(&self) -> usize {
        self.places.iter().take_while(|place| place.is_none()).count()
    }

    /// Puts a message at a place that is empty.
    #[inline]
    pub(crate) fn put(&mut self, ahead: usize, held: Held) {
        self.bytes += held.packet.len();
        if self.places.len() <= ahead {
            self.places.resize_with(ahead + 1, || None);
        }
        self.places[ahead] = Some(held);
    }

    /// Takes the first place off, and the message that is there.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Held> {
        let held = self.places.pop_front()??;
        self.bytes -= held.packet.len();
        Some(held)
    }

    /// Takes off all places from `kept` on.
    pub(crate) fn split_off(&mut self, kept: usize) -> Self {
        let places = self.places.split_off(kept);
        let bytes = places.iter().flatten().map(|held| held.packet.len()).sum();
        self.bytes -= bytes;
        Self { places, bytes }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::id::{MemberId, MessageId};
    use crate::message::{Kind, Message};

    fn held(payload: usize) -> Held {
        let id = MessageId::new(MemberId::new(0, 1), 1);
        let message = Message::new(id, Kind::Data, &[], &vec![0; payload]).expect("a message");
        let (packet, stamp) = message.into_parts();
        Held { packet, stamp, since: Time::ZERO }
    }

    #[test]
    fn bytes_and_places_follow_what_comes_and_goes() {
        let bytes = |payload| held(payload).packet.len();
        let mut ring = Ring::default();
        ring.put(2, held(30));
        ring.put(0, held(10));
        ring.put(4, held(50));
        assert_eq!((ring.len(), ring.missing_first()), (5, 0));
        assert_eq!(ring.bytes(), bytes(10) + bytes(30) + bytes(50));
        let here: Vec<_> = ring.iter().map(|(ahead, held)| (ahead, held.packet.len())).collect();
        assert_eq!(here, [(0, bytes(10)), (2, bytes(30)), (4, bytes(50))]);
        assert!(ring.get(1).is_none() && ring.get(4).is_some() && ring.get(1 << 32).is_none());
        assert_eq!(ring.pop().map(|held| held.packet.len()), Some(bytes(10)));
        assert!(ring.pop().is_none() && ring.next().is_some());
        assert_eq!((ring.len(), ring.bytes()), (3, bytes(30) + bytes(50)));
        let rest = ring.split_off(1);
        assert_eq!((ring.len(), ring.bytes()), (1, bytes(30)));
        assert_eq!((rest.len(), rest.bytes()), (2, bytes(50)));
    }
}

//! Causal histories of any size, from a seed: who said what, having seen what.
//!
//! The messages of a [`History`] have one global order, 0, 1, 2, …, that contains the causal one. The author of
//! message *k* had delivered its own messages, and all those before some place `read` in that order: a causally
//! closed set. So what a message must be stamped with follows from a few numbers, and a million messages of a
//! thousand members take a second, where a real group for each author takes hours. The tests here hold the
//! stamps against those of real groups.

use cbcast::{Kind, MemberId, Message, MessageId};

use crate::random::SplitMix64;

/// Distance at which authors are behind when they write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pace {
    /// People in one room: the author has read everything, or now and then (one time in four) all but the last
    /// one or two messages.
    Chat,
    /// Processes on slow links: the author is 0 to 100 messages behind, each as likely, unless it has read further
    /// than that before.
    Gossip,
}

const GOSSIP_LAG_MAX: u64 = 100;

/// In which order messages arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// Every message after its causes.
    Causal,
    /// As [`Causal`](Self::Causal), but each run of so many messages is shuffled.
    Shuffled(usize),
    /// Every order as likely.
    FullyShuffled,
    /// The last one first.
    Reversed,
}

impl Order {
    /// Returns which message arrives first, second, …: a permutation of `0..messages`.
    ///
    /// # Panics
    /// If the window of [`Shuffled`](Self::Shuffled) is 0.
    #[must_use]
    pub fn arrivals(self, messages: usize, seed: u64) -> Vec<usize> {
        let mut arrivals: Vec<_> = (0..messages).collect();
        let random = &mut SplitMix64(seed);
        match self {
            Self::Causal => {}
            Self::Shuffled(window) => arrivals.chunks_mut(window).for_each(|run| random.shuffle(run)),
            Self::FullyShuffled => random.shuffle(&mut arrivals),
            Self::Reversed => arrivals.reverse(),
        }
        arrivals
    }
}

/// History of what the members `0.0` to `0.n-1` ([`MemberId`]s) have said.
#[derive(Clone, Debug)]
pub struct History {
    members: u32,
    posts: Vec<HistoryPost>,
    /// `followed[p]`: how far the authors of the messages before `p` had read, the one who had read furthest.
    followed: Vec<usize>,
}

#[derive(Clone, Debug)]
struct HistoryPost {
    author: u32,
    seq: u64,
    /// The author had delivered all messages before this place.
    read: usize,
    /// `read` of the author's message before; 0 for its first.
    read_before: usize,
    /// The author's next message; `usize::MAX` for its last.
    next: usize,
}

impl History {
    /// `messages` messages, each of any of the `members` members. The same arguments give the same history, and
    /// more messages one that continues it.
    ///
    /// # Panics
    /// If there are no members.
    #[must_use]
    pub fn new(pace: Pace, members: u32, messages: usize, seed: u64) -> Self {
        assert!(members > 0, "somebody has to speak");
        let mut random = SplitMix64(seed);
        let mut posts: Vec<HistoryPost> = Vec::with_capacity(messages);
        let mut followed = vec![0];
        let mut last: Vec<Option<usize>> = vec![None; members as usize];
        for k in 0..messages {
            let author = random.below(members.into()) as u32;
            let lag = match pace {
                Pace::Chat => [0, 0, 0, 0, 0, 0, 1, 2][random.below(8) as usize],
                Pace::Gossip => random.below(GOSSIP_LAG_MAX + 1) as usize,
            };
            let before = last[author as usize].replace(k);
            let (seq, read_before) = before.map_or((0, 0), |b| (posts[b].seq, posts[b].read));
            let read = k.saturating_sub(lag).max(read_before);
            if let Some(before) = before {
                posts[before].next = k;
            }
            posts.push(HistoryPost { author, seq: seq + 1, read, read_before, next: usize::MAX });
            followed.push(read.max(followed[k]));
        }
        Self { members, posts, followed }
    }

    /// Returns who takes part.
    pub fn members(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0..self.members).map(|ordinal| MemberId::new(0, ordinal))
    }

    /// Returns how many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.posts.len()
    }

    /// Returns whether nobody has said anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    /// The author of message `k`, counted from 0.
    #[must_use]
    pub fn author(&self, k: usize) -> usize {
        self.posts[k].author as usize
    }

    /// The name of message `k`.
    #[must_use]
    pub fn id(&self, k: usize) -> MessageId {
        let post = &self.posts[k];
        MessageId::new(MemberId::new(0, post.author), post.seq)
    }

    /// The direct dependencies of message `k`: the messages that its author had delivered and that no other of
    /// those follows, its own last one excepted. Sorted.
    ///
    /// A message is followed if the author of another had read beyond it, or if it is not its author's last. As
    /// nobody reads backwards, the first holds of exactly the messages before a place `from`; so what is left
    /// are the last messages of their authors between `from` and `read`.
    #[must_use]
    pub fn dependencies(&self, k: usize) -> Vec<MessageId> {
        let post = &self.posts[k];
        let from = self.followed[post.read].max(post.read_before);
        let direct = |&j: &usize| self.posts[j].author != post.author && self.posts[j].next >= post.read;
        let mut dependencies: Vec<_> = (from..post.read).filter(direct).map(|j| self.id(j)).collect();
        dependencies.sort_unstable();
        dependencies
    }

    /// Message `k`, as its author would have sent it through a `cbcast::Group`.
    ///
    /// # Panics
    /// If the payload is too long for a packet.
    #[must_use]
    pub fn message(&self, k: usize, payload: &[u8]) -> Message {
        Message::new(self.id(k), Kind::Data, &self.dependencies(k), payload).expect("a true stamp")
    }

    /// The full vector timestamps of all messages, as `textbook::Bss` would stamp them. O(members) each.
    pub fn vectors(&self) -> impl Iterator<Item = Vec<u64>> + '_ {
        let mut said = vec![0; self.members as usize];
        self.posts.iter().enumerate().map(move |(k, post)| {
            let mut vector = said.clone();
            for unread in &self.posts[post.read..k] {
                vector[unread.author as usize] -= 1;
            }
            vector[post.author as usize] = post.seq;
            said[post.author as usize] = post.seq;
            vector
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::textbook::{Bss, Stamped};
    use cbcast::{Config, Group, Link, Output, Snapshot, Time};

    const PACES: [Pace; 2] = [Pace::Chat, Pace::Gossip];
    const SIZES: [(u32, usize); 6] = [(1, 50), (2, 300), (3, 600), (5, 600), (16, 900), (150, 900)];

    fn histories() -> impl Iterator<Item = History> {
        PACES.into_iter().flat_map(|pace| {
            SIZES.into_iter().flat_map(move |(members, messages)| {
                (0..3).map(move |seed| History::new(pace, members, messages, seed))
            })
        })
    }

    fn group(history: &History, locals: Option<usize>) -> Group {
        let locals = locals.map(|ordinal| MemberId::new(0, ordinal as u32));
        Group::new(Config::relay(), &Snapshot::fixed(history.members()), locals)
            .expect("a preset and few members")
    }

    fn deliveries(group: &mut Group) -> Vec<MessageId> {
        let mut delivered = Vec::new();
        while let Some(output) = group.poll_output() {
            if let Output::Deliver { message, .. } = output {
                delivered.push(message.id());
            }
        }
        delivered
    }

    #[test]
    fn stamps_are_those_of_a_real_group_per_author() {
        for history in histories() {
            let mut groups: Vec<_> =
                history.members().map(|m| group(&history, Some(m.ordinal as usize))).collect();
            let mut taken = vec![0; groups.len()];
            let mut said: Vec<Message> = Vec::new();
            for k in 0..history.len() {
                let author = history.author(k);
                let at_author = &mut groups[author];
                let read = history.posts[k].read;
                for earlier in &said[std::mem::replace(&mut taken[author], read)..read] {
                    let taken = at_author.handle_message(Time::ZERO, Link::Relay, earlier.clone());
                    taken.expect("a true message");
                }
                assert_eq!(at_author.held_count(), 0, "authors read in causal order");
                deliveries(at_author);
                at_author.broadcast(Time::ZERO, history.id(k).member, b"hi").expect("it lives there");
                let sent = at_author.poll_output().and_then(|output| output.sent().cloned());
                let sent = sent.expect("it was sent");
                deliveries(at_author);
                assert_eq!(history.message(k, b"hi"), sent);
                said.push(sent);
            }
        }
    }

    #[test]
    fn vectors_are_those_of_a_textbook_process_per_author() {
        for history in histories() {
            let n = history.members().count();
            let mut processes: Vec<_> = (0..n).map(|_| Bss::new(n)).collect();
            let mut taken = vec![0; n];
            let mut said: Vec<Stamped<()>> = Vec::new();
            for (k, vector) in history.vectors().enumerate() {
                let author = history.author(k);
                let read = history.posts[k].read;
                for earlier in &said[std::mem::replace(&mut taken[author], read)..read] {
                    processes[author].receive(earlier.clone());
                }
                let sent = processes[author].broadcast(author, ());
                assert_eq!(sent.vector, vector);
                said.push(sent);
            }
        }
    }

    #[test]
    fn groups_and_textbook_deliver_the_same_after_every_arrival() {
        for (seed, history) in histories().enumerate() {
            let vectors: Vec<_> = history.vectors().collect();
            for order in [Order::Causal, Order::Shuffled(64), Order::FullyShuffled, Order::Reversed] {
                let mut reader = group(&history, None);
                // It only listens: its number is one more than the members'.
                let n = history.members().count();
                let mut textbook = Bss::new(n + 1);
                for k in order.arrivals(history.len(), seed as u64) {
                    reader
                        .handle_message(Time::ZERO, Link::Relay, history.message(k, b""))
                        .expect("there is room");
                    let mut ours = deliveries(&mut reader);
                    let mut vector = vectors[k].clone();
                    vector.push(0);
                    let stamped =
                        Stamped { sender: history.author(k), vector, change: None, payload: history.id(k) };
                    let theirs = textbook.receive(stamped);
                    let mut theirs: Vec<_> = theirs.into_iter().map(|message| message.payload).collect();
                    ours.sort_unstable();
                    theirs.sort_unstable();
                    assert_eq!(ours, theirs, "{order:?}");
                }
                assert_eq!(reader.held_count(), 0);
                assert_eq!(reader.stats().delivered, history.len() as u64);
            }
        }
    }

    #[test]
    fn paces_are_what_they_say() {
        let lags = |pace| {
            let history = History::new(pace, 1_000, 20_000, 1);
            let lags: Vec<_> = history.posts.iter().enumerate().map(|(k, post)| k - post.read).collect();
            (lags.iter().sum::<usize>() as f64 / lags.len() as f64, *lags.iter().max().expect("not empty"))
        };
        let (mean, max) = lags(Pace::Chat);
        assert!((0.3..0.45).contains(&mean) && max == 2, "{mean} {max}");
        let (mean, max) = lags(Pace::Gossip);
        assert!((45.0..52.0).contains(&mean) && max == 100, "{mean} {max}");
    }

    #[test]
    fn the_same_seed_is_the_same_history() {
        for pace in PACES {
            let messages = |seed, n| {
                let history = History::new(pace, 16, n, seed);
                (0..100).map(|k| history.message(k, b"")).collect::<Vec<_>>()
            };
            assert_eq!(messages(7, 100), messages(7, 200), "a longer one goes on from there");
            assert_ne!(messages(7, 100), messages(8, 100));
        }
    }

    #[test]
    fn orders_are_permutations() {
        for order in [Order::Causal, Order::Shuffled(64), Order::FullyShuffled, Order::Reversed] {
            let arrivals = order.arrivals(1_000, 3);
            assert_eq!(arrivals, order.arrivals(1_000, 3));
            let mut sorted = arrivals.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..1_000));
            if order == Order::Shuffled(64) {
                assert!(arrivals.iter().enumerate().all(|(at, &k)| at / 64 == k / 64));
                assert!(!arrivals.is_sorted());
            }
        }
        assert!(!Order::FullyShuffled.arrivals(1_000, 3).is_sorted());
        assert_eq!(Order::Reversed.arrivals(3, 0), [2, 1, 0]);
    }
}

//! CBCAST as the paper has it: full vector timestamps, and a queue that is searched again after each delivery.
//!
//! [BSS91, section 5.1]. It shares no code and no idea with `cbcast::Group`, and it is written to be compared with
//! the paper line by line: what it delivers is what ought to be delivered. It costs O(n) per message sent and
//! compared, and O(messages held) comparisons per delivery.
//!
//! Departures from the paper: its channels never repeat a message; here copies are dropped. Its groups change by views
//! that are agreed on; here who joins and who leaves is said in messages ([`GroupChange`]), which are ordered
//! like all others, and take effect where they are delivered. Vectors never shrink. One process may speak for
//! several members.

/// A message with the vector time at which it was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stamped<T> {
    /// Number of the member that sent it.
    pub sender: usize,
    /// `vector[k]`: how many messages of member `k` the sender had delivered, this one of its own included.
    /// Entries that are left out are 0.
    pub vector: Vec<u64>,
    /// The change of the group that it announces.
    pub change: Option<GroupChange>,
    /// Content of the message.
    pub payload: T,
}

/// A change of the group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GroupChange {
    /// This member is in from now on. Nothing of it has been delivered before.
    Joined(usize),
    /// This member is gone, and all of its messages that count are in the past of this one.
    Left(usize),
}

/// Knowledge of a member.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum MemberStanding {
    /// Its joining has not been delivered.
    #[default]
    Unknown,
    Present,
    /// Its leaving has been delivered.
    Gone,
}

/// One process of a group.
///
/// ```
/// use cbcast_sim::textbook::Bss;
///
/// let [mut ann, mut bob, mut eve] = [Bss::new(3), Bss::new(3), Bss::new(3)];
/// let question = ann.broadcast(0, "lunch?");
/// bob.receive(question.clone());
/// let answer = bob.broadcast(1, "yes");
/// assert!(eve.receive(answer.clone()).is_empty(), "held back");
/// assert_eq!(eve.receive(question.clone()), [question, answer]);
/// ```
#[derive(Clone, Debug)]
pub struct Bss<T> {
    /// `VT(p)` of the paper.
    time: Vec<u64>,
    standings: Vec<MemberStanding>,
    /// In the order of receipt. No message in it is deliverable, between calls.
    delayed: Vec<Stamped<T>>,
}

impl<T> Bss<T> {
    /// A process of a group of `n` members, which are numbered from 0. Nothing has been sent yet.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self { time: vec![0; n], standings: vec![MemberStanding::Present; n], delayed: Vec::new() }
    }

    /// A process that starts with what this one has delivered.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { time: self.time.clone(), standings: self.standings.clone(), delayed: Vec::new() }
    }

    /// Step 1: increment one's own entry, and stamp the message with the time. The sender has then delivered it.
    pub fn broadcast(&mut self, sender: usize, payload: T) -> Stamped<T> {
        self.announce(sender, None, payload)
    }

    /// The same with a change of the group, which takes effect here at once.
    pub fn announce(&mut self, sender: usize, change: Option<GroupChange>, payload: T) -> Stamped<T> {
        self.grow(sender + 1);
        self.time[sender] += 1;
        let vector = self.time.clone();
        self.change(change);
        Stamped { sender, vector, change, payload }
    }

    /// Step 2: delay the message until it is deliverable. Returns what has been delivered now, in order.
    pub fn receive(&mut self, message: Stamped<T>) -> Vec<Stamped<T>> {
        self.grow(message.vector.len());
        let (sender, number) = (message.sender, message.vector[message.sender]);
        let is_copy = |other: &Stamped<T>| other.sender == sender && other.vector[sender] == number;
        let gone = self.standings[sender] == MemberStanding::Gone;
        if gone || number <= self.time[sender] || self.delayed.iter().any(is_copy) {
            return Vec::new();
        }
        self.delayed.push(message);
        let mut delivered = Vec::new();
        while let Some(at) = self.delayed.iter().position(|message| self.deliverable(message)) {
            let message = self.delayed.remove(at);
            self.deliver(&message);
            delivered.push(message);
        }
        delivered
    }

    /// Drops what is delayed of a member behind its next message: it will be sent again, if it still exists.
    pub fn discard_ahead(&mut self, member: usize) {
        let next = self.time.get(member).map_or(1, |time| time + 1);
        self.delayed.retain(|message| message.sender != member || message.vector[member] <= next);
    }

    /// The next one of its sender, and every message that the sender had delivered has been delivered here. (Of who is
    /// gone every message has been that ever will be.)
    fn deliverable(&self, message: &Stamped<T>) -> bool {
        let sender = message.sender;
        let is_met = |(k, &sent): (usize, &u64)| match self.standings[k] {
            _ if k == sender => sent == self.time[k] + 1,
            MemberStanding::Unknown => sent == 0,
            MemberStanding::Present => sent <= self.time[k],
            MemberStanding::Gone => true,
        };
        self.standings[sender] == MemberStanding::Present && message.vector.iter().enumerate().all(is_met)
    }

    /// Step 3: the time of what has been delivered becomes the greater of both, entry by entry.
    fn deliver(&mut self, message: &Stamped<T>) {
        for (here, &sent) in self.time.iter_mut().zip(&message.vector) {
            *here = sent.max(*here);
        }
        self.change(message.change);
    }

    fn change(&mut self, change: Option<GroupChange>) {
        match change {
            None => {}
            Some(GroupChange::Joined(member)) => {
                self.grow(member + 1);
                self.standings[member] = MemberStanding::Present;
            }
            Some(GroupChange::Left(member)) => {
                self.grow(member + 1);
                self.standings[member] = MemberStanding::Gone;
                self.delayed.retain(|message| message.sender != member);
            }
        }
    }

    fn grow(&mut self, n: usize) {
        if self.time.len() < n {
            self.time.resize(n, 0);
            self.standings.resize(n, MemberStanding::default());
        }
    }

    /// Returns how many messages of a member have been delivered; `None` if it is not one here.
    #[must_use]
    pub fn delivered(&self, member: usize) -> Option<u64> {
        let standing = self.standings.get(member).copied().unwrap_or_default();
        (standing == MemberStanding::Present).then(|| self.time[member])
    }

    /// Returns how many messages of each member have been delivered.
    #[must_use]
    pub fn time(&self) -> &[u64] {
        &self.time
    }

    /// Returns what waits for its causes, in the order of receipt.
    #[must_use]
    pub fn delayed(&self) -> &[Stamped<T>] {
        &self.delayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(delivered: Vec<Stamped<&'static str>>) -> Vec<&'static str> {
        delivered.into_iter().map(|message| message.payload).collect()
    }

    #[test]
    fn vectors_count_what_the_sender_had_delivered() {
        let [mut ann, mut bob] = [0, 1].map(|_| Bss::new(3));
        assert_eq!(ann.broadcast(0, "a").vector, [1, 0, 0]);
        let b = ann.broadcast(0, "b");
        assert_eq!(b.vector, [2, 0, 0]);
        assert_eq!(payloads(bob.receive(b)), [""; 0], "b waits for a");
        assert_eq!(bob.broadcast(1, "c").vector, [0, 1, 0], "what is delayed is not in the stamp");
    }

    #[test]
    fn the_messages_of_one_sender_stay_in_order() {
        let [mut ann, mut bob] = [0, 1].map(|_| Bss::new(2));
        let [a, b, c] = ["a", "b", "c"].map(|payload| ann.broadcast(0, payload));
        assert_eq!(payloads(bob.receive(c)), [""; 0]);
        assert_eq!(payloads(bob.receive(a)), ["a"]);
        assert_eq!(bob.delayed().len(), 1);
        assert_eq!(payloads(bob.receive(b)), ["b", "c"]);
        assert_eq!(bob.time(), [3, 0]);
    }

    #[test]
    fn concurrent_messages_do_not_wait_for_each_other() {
        let [mut ann, mut bob, mut eve] = [0, 1, 2].map(|_| Bss::new(3));
        let (a, b) = (ann.broadcast(0, "a"), bob.broadcast(1, "b"));
        assert_eq!(payloads(eve.receive(b)), ["b"]);
        assert_eq!(payloads(eve.receive(a)), ["a"]);
    }

    #[test]
    fn one_arrival_may_release_a_whole_chain() {
        let mut processes = [0, 1, 2, 3].map(|_| Bss::new(4));
        let mut chain: Vec<Stamped<&str>> = Vec::new();
        for (me, payload) in ["a", "b", "c"].into_iter().enumerate() {
            for earlier in chain.clone() {
                processes[me].receive(earlier);
            }
            chain.push(processes[me].broadcast(me, payload));
        }
        let eve = &mut processes[3];
        for later in [2, 1] {
            assert_eq!(payloads(eve.receive(chain[later].clone())), [""; 0]);
        }
        assert_eq!(payloads(eve.receive(chain[0].clone())), ["a", "b", "c"]);
    }

    #[test]
    fn copies_are_dropped() {
        let [mut ann, mut bob] = [0, 1].map(|_| Bss::new(2));
        let [a, b] = ["a", "b"].map(|payload| ann.broadcast(0, payload));
        bob.receive(b.clone());
        bob.receive(b.clone());
        assert_eq!(bob.delayed().len(), 1);
        assert_eq!(payloads(bob.receive(a.clone())), ["a", "b"]);
        assert_eq!(payloads(bob.receive(a)), [""; 0]);
        assert_eq!(payloads(bob.receive(b)), [""; 0]);
    }

    #[test]
    fn members_come_and_go_where_it_is_delivered_that_they_do() {
        let [mut host, mut ann, mut bob] = [0, 1, 2].map(|_| Bss::new(2));
        let joined = host.announce(0, Some(GroupChange::Joined(2)), "eve joined");
        let mut eve = host.snapshot();
        let hello = eve.broadcast(2, "hello");
        assert_eq!(payloads(ann.receive(hello.clone())), [""; 0], "nobody has heard of her");
        assert_eq!(ann.delivered(2), None);
        assert_eq!(payloads(ann.receive(joined.clone())), ["eve joined", "hello"]);
        let lost = eve.broadcast(2, "lost");
        host.receive(hello.clone());
        let left = host.announce(0, Some(GroupChange::Left(2)), "eve left");
        ann.receive(lost.clone());
        assert_eq!(ann.delivered(2), Some(2));
        let answer = ann.broadcast(1, "to what is lost");
        for message in [joined, hello, answer.clone()] {
            assert!(!payloads(bob.receive(message)).contains(&"to what is lost"));
        }
        assert_eq!(payloads(bob.receive(left)), ["eve left", "to what is lost"]);
        assert_eq!(payloads(bob.receive(lost)), [""; 0]);
        assert_eq!((bob.delivered(2), bob.time()), (None, &[2, 1, 2][..]));
    }
}

//! CBCAST as the paper has it: full vector timestamps, and a queue that is searched again after each delivery.
//!
//! [BSS91, section 5.1], for a fixed group. It shares no code and no idea with `cbcast::Group`, and it is
//! written to be compared with the paper line by line: what it delivers is what ought to be delivered. It costs
//! O(n) per message sent and compared, and O(messages held) comparisons per delivery.
//!
//! Departure from the paper: its channels never repeat a message; here copies are dropped.

/// A message with the vector time at which it was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stamped<T> {
    /// Which process sent it.
    pub sender: usize,
    /// `vector[k]`: how many messages of process `k` the sender had delivered, this one of its own included.
    pub vector: Vec<u64>,
    /// What it says.
    pub payload: T,
}

/// One process of a fixed group of `n`.
///
/// ```
/// use cbcast_sim::textbook::Bss;
///
/// let [mut ann, mut bob, mut eve] = [0, 1, 2].map(|me| Bss::new(3, me));
/// let question = ann.broadcast("lunch?");
/// bob.receive(question.clone());
/// let answer = bob.broadcast("yes");
/// assert!(eve.receive(answer.clone()).is_empty(), "held back");
/// assert_eq!(eve.receive(question.clone()), [question, answer]);
/// ```
#[derive(Clone, Debug)]
pub struct Bss<T> {
    me: usize,
    /// `VT(p)` of the paper.
    time: Vec<u64>,
    /// In the order of receipt. No message in it is deliverable, between calls.
    delayed: Vec<Stamped<T>>,
}

impl<T> Bss<T> {
    /// Process `me` of `n` processes, which are numbered from 0. Nothing has been sent yet.
    ///
    /// # Panics
    /// If `me` is not below `n`.
    #[must_use]
    pub fn new(n: usize, me: usize) -> Self {
        assert!(me < n, "process {me} of {n}");
        Self { me, time: vec![0; n], delayed: Vec::new() }
    }

    /// Step 1: increment one's own entry, and stamp the message with the time. The sender has then delivered it.
    pub fn broadcast(&mut self, payload: T) -> Stamped<T> {
        self.time[self.me] += 1;
        Stamped { sender: self.me, vector: self.time.clone(), payload }
    }

    /// Step 2: delay the message until it is deliverable. Returns what has been delivered now, in order.
    ///
    /// # Panics
    /// If the message is of another group: its vector has not one entry per process, or there is no such sender.
    pub fn receive(&mut self, message: Stamped<T>) -> Vec<Stamped<T>> {
        assert_eq!(message.vector.len(), self.time.len(), "one entry per process");
        let number = message.vector[message.sender];
        let is_copy =
            |other: &Stamped<T>| other.sender == message.sender && other.vector[other.sender] == number;
        if number <= self.time[message.sender] || self.delayed.iter().any(is_copy) {
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

    /// The next one of its sender, and every message that the sender had delivered has been delivered here.
    fn deliverable(&self, message: &Stamped<T>) -> bool {
        message
            .vector
            .iter()
            .zip(&self.time)
            .enumerate()
            .all(|(k, (&sent, &here))| if k == message.sender { sent == here + 1 } else { sent <= here })
    }

    /// Step 3: the time of what has been delivered becomes the greater of both, entry by entry.
    fn deliver(&mut self, message: &Stamped<T>) {
        for (here, &sent) in self.time.iter_mut().zip(&message.vector) {
            *here = sent.max(*here);
        }
    }

    /// How many messages of each process have been delivered.
    #[must_use]
    pub fn time(&self) -> &[u64] {
        &self.time
    }

    /// What waits for its causes, in the order of receipt.
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
        let [mut ann, mut bob] = [0, 1].map(|me| Bss::new(3, me));
        assert_eq!(ann.broadcast("a").vector, [1, 0, 0]);
        let b = ann.broadcast("b");
        assert_eq!(b.vector, [2, 0, 0]);
        assert_eq!(payloads(bob.receive(b)), [""; 0], "b waits for a");
        assert_eq!(bob.broadcast("c").vector, [0, 1, 0], "what is delayed is not in the stamp");
    }

    #[test]
    fn the_messages_of_one_sender_stay_in_order() {
        let [mut ann, mut bob] = [0, 1].map(|me| Bss::new(2, me));
        let [a, b, c] = ["a", "b", "c"].map(|payload| ann.broadcast(payload));
        assert_eq!(payloads(bob.receive(c)), [""; 0]);
        assert_eq!(payloads(bob.receive(a)), ["a"]);
        assert_eq!(bob.delayed().len(), 1);
        assert_eq!(payloads(bob.receive(b)), ["b", "c"]);
        assert_eq!(bob.time(), [3, 0]);
    }

    #[test]
    fn concurrent_messages_do_not_wait_for_each_other() {
        let [mut ann, mut bob, mut eve] = [0, 1, 2].map(|me| Bss::new(3, me));
        let (a, b) = (ann.broadcast("a"), bob.broadcast("b"));
        assert_eq!(payloads(eve.receive(b)), ["b"]);
        assert_eq!(payloads(eve.receive(a)), ["a"]);
    }

    #[test]
    fn one_arrival_may_release_a_whole_chain() {
        let mut processes = [0, 1, 2, 3].map(|me| Bss::new(4, me));
        let mut chain: Vec<Stamped<&str>> = Vec::new();
        for (me, payload) in ["a", "b", "c"].into_iter().enumerate() {
            for earlier in chain.clone() {
                processes[me].receive(earlier);
            }
            chain.push(processes[me].broadcast(payload));
        }
        let eve = &mut processes[3];
        for later in [2, 1] {
            assert_eq!(payloads(eve.receive(chain[later].clone())), [""; 0]);
        }
        assert_eq!(payloads(eve.receive(chain[0].clone())), ["a", "b", "c"]);
    }

    #[test]
    fn copies_are_dropped() {
        let [mut ann, mut bob] = [0, 1].map(|me| Bss::new(2, me));
        let [a, b] = ["a", "b"].map(|payload| ann.broadcast(payload));
        bob.receive(b.clone());
        bob.receive(b.clone());
        assert_eq!(bob.delayed().len(), 1);
        assert_eq!(payloads(bob.receive(a.clone())), ["a", "b"]);
        assert_eq!(payloads(bob.receive(a)), [""; 0]);
        assert_eq!(payloads(bob.receive(b)), [""; 0]);
    }
}

//! Turns at making long answers, so that whoever asks for much does not keep those waiting who say and hear something.
//!
//! A connection is given some answers at once. Then it waits for its turn before each further piece is made, and few
//! connections have theirs at a time: fewer than there are threads that serve, so that all else is done meanwhile.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::net::budget::{Bucket, Rate};

/// Bytes of answers that a connection is given in a second without waiting for its turn.
const FREE: Rate = Rate::each(Duration::from_secs(1), 32 << 10).expect("not 0");
/// The time after which it is forgotten what a connection was given.
const FORGOTTEN: Duration = Duration::from_secs(60);

pub(crate) struct Turns {
    places: Semaphore,
}

/// A turn, until it is dropped: not longer than a piece is made.
pub(crate) struct Turn<'a> {
    _place: Option<SemaphorePermit<'a>>,
}

/// Answers that one connection was given lately.
#[derive(Debug, Default)]
pub(crate) struct GivenAnswers(Mutex<Bucket>);

impl GivenAnswers {
    /// Counts bytes that were made for it.
    pub(crate) fn add(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bucket().spend(Instant::now(), FREE, bytes, FORGOTTEN);
    }

    fn is_much(&self) -> bool {
        self.bucket().is_empty(Instant::now(), FREE)
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.0.lock().expect("nothing panics while holding it")
    }
}

impl Turns {
    /// Turns where so many threads serve.
    pub(crate) fn new(threads: usize) -> Self {
        Self { places: Semaphore::new((threads / 2).max(1)) }
    }

    /// Waits for the next turn, if the connection was given much. Those who wait have theirs in the order of their coming.
    pub(crate) async fn next(&self, given: &GivenAnswers) -> Turn<'_> {
        if !given.is_much() {
            return Turn { _place: None };
        }
        let place = self.places.acquire().await.expect("it is never closed");
        // Whatever this thread has to do beside goes first, also what has just come.
        tokio::task::yield_now().await;
        Turn { _place: Some(place) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_much_waits_for_a_turn_and_others_do_not() {
        let (turns, made) = (Arc::new(Turns::new(4)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..100 {
            let (turns, made) = (Arc::clone(&turns), Arc::clone(&made));
            tokio::spawn(async move {
                let given = GivenAnswers::default();
                loop {
                    let turn = turns.next(&given).await;
                    made.fetch_add(1, Ordering::Relaxed);
                    given.add(16 << 10);
                    drop(turn);
                }
            });
        }
        // Each is given what is free, and with the piece that goes beyond it, it has much.
        while made.load(Ordering::Relaxed) < 300 {
            tokio::task::yield_now().await;
        }
        let before = made.load(Ordering::Relaxed);
        let other = GivenAnswers::default();
        for _ in 0..10 {
            drop(turns.next(&other).await);
            tokio::task::yield_now().await;
        }
        let pieces = made.load(Ordering::Relaxed) - before;
        assert!((1..=40).contains(&pieces), "{pieces} pieces in ten rounds of two places");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_is_forgotten() {
        let given = GivenAnswers::default();
        given.add(32 << 10);
        assert!(!given.is_much());
        given.add(32 << 10);
        assert!(given.is_much());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!given.is_much());
        given.add(1 << 30);
        tokio::time::advance(FORGOTTEN).await;
        assert!(!given.is_much());
    }
}

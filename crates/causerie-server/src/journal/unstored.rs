//! Results that nobody may be told yet, since they depend on changes of a room that are not stored.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::watch;

/// Progress of storing one room's changes.
#[derive(Debug)]
pub(crate) struct StoringProgress {
    /// Number of changes that are stored.
    stored: watch::Sender<u64>,
    /// Reason why nothing can be stored at the moment, if there is one.
    trouble: watch::Receiver<Option<Arc<str>>>,
}

impl StoringProgress {
    pub(crate) fn new(trouble: watch::Receiver<Option<Arc<str>>>) -> Arc<Self> {
        Arc::new(Self { stored: watch::Sender::new(0), trouble })
    }

    /// Notes that so many changes are stored.
    pub(crate) fn has_stored(&self, changes: u64) {
        self.stored.send_if_modified(|stored| {
            let is_more = changes > *stored;
            *stored = changes.max(*stored);
            is_more
        });
    }
}

/// Refusal of a result: it cannot be stored at the moment, for this reason.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct NotStored(pub(crate) Arc<str>);

/// A result that may be told once the changes that it depends on are stored: a server stores, then shows.
///
/// Its value comes out when they are, or for a stated reason.
///
/// ```
/// async fn tell(joined: causerie_server::Unstored<String>) -> String {
///     joined.stored().await
/// }
/// ```
///
/// Nothing gets at it before, and it cannot be passed over:
///
/// ```compile_fail
/// async fn tell(joined: causerie_server::Unstored<String>) -> String {
///     joined.value
/// }
/// ```
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn join(joined: fn() -> causerie_server::Unstored<String>) {
///     joined();
/// }
/// ```
#[derive(Debug)]
#[must_use = "it may be told once it is stored"]
pub struct Unstored<T> {
    value: T,
    /// Number of changes on which it depends.
    changes: u64,
    progress: Arc<StoringProgress>,
}

impl<T> Unstored<T> {
    pub(crate) fn new(value: T, changes: u64, progress: &Arc<StoringProgress>) -> Self {
        Self { value, changes, progress: Arc::clone(progress) }
    }

    fn is_stored(&self) -> bool {
        *self.progress.stored.borrow() >= self.changes
    }

    /// Waits until it is stored, however long that takes.
    pub async fn stored(self) -> T {
        let mut stored = self.progress.stored.subscribe();
        // The sender is in `progress`, so there is no other end.
        stored.wait_for(|stored| *stored >= self.changes).await.ok();
        self.value
    }

    /// Waits until it is stored, or it is known that it cannot be at the moment.
    ///
    /// # Errors
    /// [`NotStored`]: it may be stored later, and nobody is told.
    pub async fn stored_in_time(self) -> Result<T, NotStored> {
        let mut trouble = self.progress.trouble.clone();
        tokio::select! {
            biased;
            value = self.stored() => Ok(value),
            Ok(why) = trouble.wait_for(Option::is_some) => Err(NotStored(why.clone().unwrap_or_default())),
        }
    }

    /// Returns the value if it is stored.
    ///
    /// # Errors
    /// Itself, if it is not.
    pub fn try_stored(self) -> Result<T, Self> {
        if self.is_stored() { Ok(self.value) } else { Err(self) }
    }

    /// Returns a value that tells nothing by itself: what has happened is told by its record, which is shown once it is
    /// stored. To wait for each broadcast would serialise pipelines.
    pub fn told_by_its_record(self) -> T {
        self.value
    }

    /// Returns the value of which nothing is told yet. Each use says why it may look.
    pub fn peek_unstored(&self) -> &T {
        &self.value
    }

    /// Makes another value of it, which may be told as late.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Unstored<U> {
        Unstored { value: make(self.value), changes: self.changes, progress: self.progress }
    }

    /// Returns the value to somebody who tells nothing before what it owes is stored.
    pub(crate) fn owed(self, debts: &mut Debts) -> T {
        debts.0.push(Unstored { value: (), changes: self.changes, progress: self.progress });
        self.value
    }
}

/// Changes that have to be stored before somebody tells anything.
#[derive(Debug, Default)]
#[must_use = "nothing may be told before they are stored"]
pub(crate) struct Debts(Vec<Unstored<()>>);

impl Debts {
    /// Waits until all of them are stored.
    pub(crate) async fn stored(self) {
        for debt in self.0 {
            debt.stored().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_comes_out_once_so_many_changes_are_stored() {
        let trouble = watch::Sender::new(None);
        let progress = StoringProgress::new(trouble.subscribe());
        let unstored = |changes| Unstored::new(changes, changes, &progress);
        assert_eq!(unstored(0).stored().await, 0, "it depends on nothing");
        assert_eq!(unstored(2).try_stored().expect_err("it is not stored").changes, 2);
        let waiting = tokio::spawn(unstored(2).stored());
        let mut debts = Debts::default();
        assert_eq!((unstored(1).owed(&mut debts), unstored(2).owed(&mut debts)), (1, 2));
        let debts = tokio::spawn(debts.stored());
        progress.has_stored(1);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !debts.is_finished());
        // What is stored stays stored.
        progress.has_stored(0);
        assert_eq!(unstored(1).try_stored().expect("it is stored"), 1);
        progress.has_stored(3);
        assert_eq!(waiting.await.expect("it ends"), 2);
        debts.await.expect("they end");

        let refused = tokio::spawn(unstored(4).stored_in_time());
        trouble.send_replace(Some("no room".into()));
        assert_eq!(refused.await.expect("it ends").expect_err("it is refused").to_string(), "no room");
        assert_eq!(unstored(3).stored_in_time().await.expect("it is stored"), 3);
    }
}

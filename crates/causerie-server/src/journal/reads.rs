//! Reads of the store that clients start: so many at once, and each counts until it has ended, whether or not its client
//! still waits for it.
//!
//! Who is in a room does not wait for those who only look, nor who speaks for those who catch up: each kind of reader has
//! places of its own. Those of readers are no more together than the store reads at once
//! ([`causerie_store::Options::readers`]; searches have a connection of their own).

use std::sync::Arc;

use causerie_store::Store;
use tokio::sync::Semaphore;

/// Reads of each kind at once.
const MEMBERS: usize = 4;
/// Theirs are short, and a place that is handed on lies idle until the task that gets it runs: with few places, a busy
/// server takes a message at a time.
const SPEAKERS: usize = 64;
const STRANGERS: usize = 2;
const SEARCHES: usize = 1;

/// Whoever starts a read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asker {
    /// A member, who joins, catches up or comes back.
    Member,
    /// A member, who says something: all who catch up wait for that.
    Speaker,
    /// Anybody, who asks for a page or for numbers.
    Stranger,
    /// Anybody, who searches.
    Search,
}

pub(crate) struct Reads {
    store: Arc<dyn Store>,
    members: Arc<Semaphore>,
    speakers: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

impl Reads {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            store,
            members: places(MEMBERS),
            speakers: places(SPEAKERS),
            strangers: places(STRANGERS),
            searches: places(SEARCHES),
        }
    }

    /// Waits for a place, and reads on a thread that may block. A read that has begun goes on to its end, and keeps its
    /// place until then, also if this is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        asker: Asker,
        read: impl FnOnce(&dyn Store) -> T + Send + 'static,
    ) -> T {
        let places = match asker {
            Asker::Member => &self.members,
            Asker::Speaker => &self.speakers,
            Asker::Stranger => &self.strangers,
            Asker::Search => &self.searches,
        };
        let place = Arc::clone(places).acquire_owned().await.expect("it is never closed");
        let store = Arc::clone(&self.store);
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            read(&*store)
        });
        reading.await.expect("reading does not panic")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use causerie_store::MemoryStore;
    use futures_util::FutureExt;

    use super::*;

    /// Begins a read that goes on until the sender is dropped; whoever asked for it goes away meanwhile.
    async fn abandoned(reads: &Arc<Reads>, asker: Asker) -> mpsc::Sender<()> {
        let (end, ended) = mpsc::channel();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let reads = Arc::clone(reads);
        let asking = tokio::spawn(async move {
            let read = move |_: &dyn Store| {
                begin.send(()).expect("it is waited for");
                ended.recv()
            };
            reads.run(asker, read).await
        });
        begun.await.expect("it begins");
        asking.abort();
        assert!(asking.await.is_err_and(|error| error.is_cancelled()));
        end
    }

    #[tokio::test]
    async fn a_read_counts_until_it_has_ended_though_its_client_has_gone() {
        let reads = Arc::new(Reads::new(Arc::new(MemoryStore::new())));
        let search = abandoned(&reads, Asker::Search).await;
        let mut next = Box::pin(reads.run(Asker::Search, |_| ()));
        assert!((&mut next).now_or_never().is_none(), "one at once");
        let pages = [abandoned(&reads, Asker::Stranger).await, abandoned(&reads, Asker::Stranger).await];
        let mut page = Box::pin(reads.run(Asker::Stranger, |_| ()));
        assert!((&mut page).now_or_never().is_none(), "two at once");
        reads.run(Asker::Member, |_| ()).await;
        let (one, two) = (abandoned(&reads, Asker::Member), abandoned(&reads, Asker::Member));
        let more = (abandoned(&reads, Asker::Member), abandoned(&reads, Asker::Member));
        let caught_up = (one.await, two.await, more.0.await, more.1.await);
        assert!(Box::pin(reads.run(Asker::Member, |_| ())).now_or_never().is_none(), "four at once");
        reads.run(Asker::Speaker, |_| ()).await;
        drop(caught_up);
        drop(search);
        next.await;
        drop(pages);
        page.await;
    }
}

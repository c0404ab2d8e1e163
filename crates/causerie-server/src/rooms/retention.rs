//! Retention: the oldest records of rooms go, as far as the limits want it.

use std::sync::Arc;
use std::time::Duration;

use causerie_store::Retention;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::rooms::ages::{ClockStep, retain};
use crate::rooms::directory::{RoomDirectory, TICK};
use crate::rooms::hosted::HostedRoom;

/// Time between removals of old records.
const EVERY: Duration = Duration::from_secs(60);

impl RoomDirectory {
    /// Watches the clock, and lets the oldest records go, until the server stops.
    pub(crate) async fn keep_retention(&self, stop: &CancellationToken) {
        let clock = self.clock();
        let mut next = tokio::time::Instant::now() + EVERY;
        while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            let (retention, now) = (self.retention(), clock.now());
            let step = self.ages().look(now);
            if let Some(age) = retention.age_millis.filter(|_| step != ClockStep::Even) {
                let (store, ages) = (self.store(), Arc::clone(self.ages()));
                tokio::task::spawn_blocking(move || ages.heed(step, &*store, now, age)).await.ok();
            }
            if tokio::time::Instant::now() < next {
                continue;
            }
            next = tokio::time::Instant::now() + EVERY;
            let retention = self.ages().now(retention);
            if retention == Retention::default() {
                continue;
            }
            for hosted in self.all() {
                self.let_go(&hosted, retention, clock).await;
            }
        }
    }

    async fn let_go(&self, hosted: &Arc<HostedRoom>, retention: Retention, clock: Clock) {
        // The next start begins at a checkpoint, and reads what is behind it.
        let asked = hosted.act(|room, _| {
            room.ask_for_checkpoint();
            (room.position(), room.name().to_string())
        });
        let Ok((at, name)) = asked.stored_in_time().await else { return };
        let (store, id) = (self.store(), hosted.id);
        let keep = Retention { before: Some(at + 1), ..retention };
        let kept = tokio::task::spawn_blocking(move || retain(&*store, id, &name, keep, clock.now())).await;
        match kept {
            Ok(Ok(first)) => hosted.kept_from(first),
            Ok(Err(error)) => warn!("old messages cannot be removed: {error}"),
            Err(_) => {}
        }
    }
}

//! Connections whose other host has gone without a word: a cable was pulled, a laptop closed.
//!
//! The system's own probes tell of one that is idle ([`Stream::new`]). Where something is on its way, it does
//! not probe, but sends that again for a quarter of an hour before it gives up. Whoever does not take what it is sent may
//! just be slow, though, and its system answers for it: what tells the two apart is whether anything at all is heard.

use std::net::Shutdown;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::net::stream::Stream;

/// Looks that are taken while something waits for an answer, before the other host counts as gone.
const LOOKS: u32 = 9;

/// The connections that are looked after. One task for all: nothing waits for each.
#[derive(Default)]
pub(crate) struct Vanished(Mutex<Vec<(Weak<Stream>, Watch)>>);

impl Vanished {
    /// Looks after it as long as it is there.
    pub(crate) fn watch(&self, stream: &Arc<Stream>) {
        let entry = (Arc::downgrade(stream), Watch::default());
        self.0.lock().expect("nothing panics while holding it").push(entry);
    }

    /// Ends connections whose other host has not answered for `patience`, until `stop`.
    pub(crate) async fn end_them(&self, patience: impl Fn() -> Duration, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(patience() / LOOKS)).await.is_some() {
            self.0.lock().expect("nothing panics while holding it").retain_mut(|(stream, watch)| {
                let Some(stream) = stream.upgrade() else { return false };
                let Some(sight) = Sight::of(&*stream) else { return true };
                let is_gone = watch.is_gone(Instant::now(), sight, patience());
                if is_gone {
                    debug!("the host of {:?} does not answer any more", stream.peer_addr());
                    // Its session, wherever that waits, reads the end or fails to write. If that is so already, it knows.
                    stream.shutdown(Shutdown::Both).ok();
                }
                !is_gone
            });
        }
    }
}

/// Knowledge that the system has of a connection at a moment.
#[derive(Clone, Copy, Debug)]
struct Sight {
    /// Something was sent and not acknowledged.
    is_unacknowledged: bool,
    /// Questions to the other host, whether it is there or has room again, that it has not answered.
    probes: u8,
    /// Time since something was sent last, be it again.
    since_sent: Duration,
    /// Time since anything was acknowledged, be it that there is no room.
    since_heard: Duration,
}

impl Sight {
    /// Returns whether the other host owes an answer. What it has acknowledged to have no room for it need not answer again until it is
    /// asked, which a system does less and less often.
    fn waits(&self) -> bool {
        self.probes > 0 || self.is_unacknowledged && self.since_sent < self.since_heard
    }
}

/// Time for which a connection has waited for an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// Time when it was first seen to wait, with nothing heard since.
    waits_since: Option<Instant>,
}

impl Watch {
    /// Returns whether the other host has been silent for `patience` or longer while it was waited for.
    fn is_gone(&mut self, now: Instant, sight: Sight, patience: Duration) -> bool {
        let since = self.waits_since.filter(|since| sight.since_heard >= now - *since);
        self.waits_since = sight.waits().then(|| since.unwrap_or(now));
        self.waits_since.is_some_and(|since| now - since >= patience)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::libc;
    use nix::sys::socket::sockopt::GetStruct;

    use super::Sight;

    /// The beginning of the system's `struct tcp_info` [tcp(7)]: later kernels have more behind it, and give what fits.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Info {
        _state_to_retransmits: [u8; 3],
        probes: u8,
        _backoff_to_flags: [u8; 4],
        _timeouts_and_sizes: [u32; 4],
        unacknowledged: u32,
        _lost_and_the_like: [u32; 4],
        last_data_sent: u32,
        _last_ack_sent: u32,
        _last_data_received: u32,
        last_ack_received: u32,
    }

    #[derive(Clone, Copy)]
    struct TcpInfo;

    nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, Info, GetStruct<Info>);

    impl Sight {
        /// Returns what the system tells; `None` if it does not.
        pub(super) fn of(stream: &impl AsFd) -> Option<Self> {
            let info = nix::sys::socket::getsockopt(stream, TcpInfo).ok()?;
            Some(Self {
                is_unacknowledged: info.unacknowledged > 0,
                probes: info.probes,
                since_sent: Duration::from_millis(info.last_data_sent.into()),
                since_heard: Duration::from_millis(info.last_ack_received.into()),
            })
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Sight {
    /// Returns nothing: there is no common way to ask, and the system ends the connection when it gives up.
    fn of(_: &Stream) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(90);

    /// A connection as it is seen every ten seconds: `(unacknowledged, probes, since sent, since heard)`. After how many
    /// seconds it counts as gone.
    fn gone_after(sights: impl IntoIterator<Item = (bool, u8, u64, u64)>) -> Option<u64> {
        let (begun, mut watch) = (Instant::now(), Watch::default());
        sights.into_iter().zip((0..).step_by(10)).find_map(
            |((is_unacknowledged, probes, sent, heard), at)| {
                let (since_sent, since_heard) = (Duration::from_secs(sent), Duration::from_secs(heard));
                let sight = Sight { is_unacknowledged, probes, since_sent, since_heard };
                watch.is_gone(begun + Duration::from_secs(at), sight, PATIENCE).then_some(at)
            },
        )
    }

    #[test]
    fn who_is_heard_of_is_there() {
        // Nothing is on its way, for an hour.
        assert_eq!(gone_after((0..360).map(|n| (false, 0, 10 * n, 10 * n))), None);
        // Always something is, and always it has just been acknowledged.
        assert_eq!(gone_after((0..360).map(|_| (true, 0, 0, 1))), None);
        // Seen each time between a message and its acknowledgement.
        assert_eq!(gone_after((0..360).map(|_| (true, 0, 0, 9))), None);
    }

    #[test]
    fn who_reads_nothing_is_slow_as_long_as_its_system_answers() {
        // No room: asked every 120 s, seen in the middle of some of the questions.
        let asked = |n: u64| (n * 10) % 120;
        assert_eq!(gone_after((0..360).map(|n| (false, u8::from(n % 24 == 0), 4_000, asked(n)))), None);
        // Sent before there was no room, and sent again every 120 s; that is acknowledged to be in vain.
        assert_eq!(gone_after((0..360).map(|n| (true, 0, asked(n) + 1, asked(n)))), None);
        // It was asked, and does not answer any more.
        let silent = (0..360).map(|n| (false, (n / 12).min(15) as u8, 4_000, 10 * n));
        assert_eq!(gone_after(silent), Some(120 + 90), "from the first question without an answer");
    }

    #[test]
    fn who_answers_nothing_that_is_sent_is_gone() {
        // Sent again, less and less often.
        let again = [0, 0, 1, 5, 12, 3, 13, 23, 7, 17, 27, 37, 47];
        assert_eq!(gone_after(again.iter().zip(1..).map(|(sent, n)| (true, 0, *sent, 10 * n))), Some(90));
        // An acknowledgement in between begins it anew.
        let heard = |n: u64| if n < 8 { 10 * n + 10 } else { 10 * (n - 8) + 1 };
        assert_eq!(gone_after((0..30).map(|n| (true, 0, 0, heard(n)))), Some(80 + 90));
        // Idle, and asked by the system whether it is there.
        let idle = (0..30).map(|n| (false, if n < 6 { 0 } else { 1 }, 10 * n, 10 * n));
        assert_eq!(gone_after(idle), Some(60 + 90));
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_system_tells_what_is_on_its_way() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, client) = tokio::join!(listener.accept(), client);
        let (mut stream, mut client) = (accepted.unwrap().0, client.unwrap());
        stream.write_all(b"x").await.unwrap();
        client.read_u8().await.unwrap();
        client.write_all(b"y").await.unwrap();
        stream.read_u8().await.unwrap();
        let sight = Sight::of(&stream).expect("this system tells");
        assert!(!sight.waits(), "all of it was acknowledged: {sight:?}");
        // More than there is room for: it is not acknowledged, but for that there is no room.
        while stream.try_write(&[0; 1 << 16]).is_ok() {}
        let sight = Sight::of(&stream).expect("this system tells");
        assert!(sight.since_heard < Duration::from_secs(60), "{sight:?}");
    }
}

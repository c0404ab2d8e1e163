//! What the server counts and measures, for Prometheus.
//!
//! No room and no member is a label: the number of series does not grow with the number of either.

use std::fmt::Write;
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use causerie_core::content::body::BodyError;
use causerie_core::room::{Counts, HostedSayError};
use causerie_store::Store;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::settings::Protocol;

/// Label of connections: what they speak.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Speaks {
    protocol: Protocol,
}

impl EncodeLabelValue for Protocol {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Native => "native",
            Self::Classic => "classic",
            Self::Http => "http",
            Self::Irc => "irc",
        })
    }
}

/// Places that something is read from, or lies in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Medium {
    Memory,
    Store,
    Database,
    Wal,
}

impl EncodeLabelValue for Medium {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Database => "database",
            Self::Wal => "wal",
        })
    }
}

/// Label of such a place.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Source {
    from: Medium,
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Status {
    status: u16,
}

/// Kinds of what an address can have too much of.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Limited {
    Arrivals,
    Connections,
    Joins,
    Lab,
    Messages,
    Rooms,
    Silent,
}

impl Limited {
    const ALL: [Self; 7] = [
        Self::Arrivals,
        Self::Connections,
        Self::Joins,
        Self::Lab,
        Self::Messages,
        Self::Rooms,
        Self::Silent,
    ];
}

impl EncodeLabelValue for Limited {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Arrivals => "arrivals",
            Self::Connections => "connections",
            Self::Joins => "joins",
            Self::Lab => "lab",
            Self::Messages => "messages",
            Self::Rooms => "rooms",
            Self::Silent => "silent",
        })
    }
}

/// Label of what an address had too much of.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Limit {
    what: Limited,
}

/// Ends of handshakes of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Handshake {
    Done,
    /// The client has refused the certificate, or something else that it was told.
    ByClient,
    /// What came is no handshake that this server knows.
    ByServer,
    /// The connection ended.
    CutOff,
    TimedOut,
}

impl Handshake {
    const ALL: [Self; 5] = [Self::Done, Self::ByClient, Self::ByServer, Self::CutOff, Self::TimedOut];

    /// Returns how a handshake ended that did not succeed.
    pub(crate) fn failed(error: &io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(rustls::Error::AlertReceived(_)) => Self::ByClient,
            Some(_) => Self::ByServer,
            None => Self::CutOff,
        }
    }
}

impl EncodeLabelValue for Handshake {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Done => "done",
            Self::ByClient => "refused_by_client",
            Self::ByServer => "refused_by_server",
            Self::CutOff => "cut_off",
            Self::TimedOut => "timed_out",
        })
    }
}

/// Label of handshakes: how they ended.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Ended {
    result: Handshake,
}

/// Reasons why a message is not taken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Refused {
    /// It cannot be decoded.
    Malformed,
    /// It is too long.
    TooLong,
    /// It may not be said, or not by this member.
    Invalid,
    /// The speaker is not in the room, or not any more.
    NotMember,
    /// More comes from its address than may.
    TooOften,
    /// A limit of the room is reached, for a while.
    Limit,
    /// Nothing can be stored at the moment.
    StorageFull,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::Malformed,
        Self::TooLong,
        Self::Invalid,
        Self::NotMember,
        Self::TooOften,
        Self::Limit,
        Self::StorageFull,
    ];
}

impl From<&HostedSayError> for Refused {
    fn from(error: &HostedSayError) -> Self {
        match error {
            HostedSayError::NotHere => Self::NotMember,
            HostedSayError::Body(BodyError::TooLong { .. }) | HostedSayError::Packet(_) => Self::TooLong,
            HostedSayError::Body(_) => Self::Invalid,
            HostedSayError::StorageFull => Self::StorageFull,
        }
    }
}

impl EncodeLabelValue for Refused {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(match self {
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Invalid => "invalid",
            Self::NotMember => "not_member",
            Self::TooOften => "too_often",
            Self::Limit => "limit",
            Self::StorageFull => "storage_full",
        })
    }
}

/// Label of messages that are not taken.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefusalLabel {
    protocol: Protocol,
    reason: Refused,
}

/// Values that are not counted, but looked at when they are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) silent: usize,
    pub(crate) pending_bytes: usize,
    pub(crate) unread_bytes: usize,
    pub(crate) held_bytes: usize,
    pub(crate) cut: u64,
    pub(crate) is_locked_down: bool,
    /// End of the certificate, in seconds since 1970; 0 without one.
    pub(crate) certificate_ends: u64,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    open: Family<Speaks, Gauge>,
    opened: Family<Speaks, Counter>,
    silent: Gauge,
    refused_connections: Counter,
    limited: Family<Limit, Counter>,
    requests: Family<Status, Counter>,
    delivered: Counter,
    held: Counter,
    held_for: Histogram,
    duplicates: Counter,
    refused: Family<RefusalLabel, Counter>,
    joined: Counter,
    left: Counter,
    resumed: Counter,
    resumes_refused: Counter,
    stored_records: Counter,
    stored_bytes: Counter,
    commit_time: Histogram,
    commit_records: Histogram,
    commits_put_off: Counter,
    pending_bytes: Gauge<i64>,
    unread_bytes: Gauge,
    held_bytes: Gauge,
    cut: Counter,
    lag: Histogram,
    reads: Family<Source, Counter>,
    rooms: Gauge,
    members: Gauge,
    store_bytes: Family<Source, Gauge<u64, AtomicU64>>,
    staged_bytes: Gauge<u64, AtomicU64>,
    store_damaged: Counter,
    handshakes: Family<Ended, Counter>,
    lockdown: Gauge,
    certificate_ends: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("causerie");
        let r = &mut registry;
        // 250 µs to some 8 s.
        let commit_time = Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        // 1 ms to some 9 min.
        let held_for = Histogram::new(exponential_buckets(0.001, 3.0, 13));
        let commit_records = Histogram::new(exponential_buckets(1.0, 4.0, 10));
        let lag = Histogram::new(exponential_buckets(1.0, 4.0, 12));
        r.register_with_unit(
            "commit",
            "Time that a commit to the store took",
            Unit::Seconds,
            commit_time.clone(),
        );
        r.register_with_unit(
            "held",
            "Time for which messages were held back",
            Unit::Seconds,
            held_for.clone(),
        );
        r.register("commit_records", "Records stored with one commit", commit_records.clone());
        r.register(
            "cursor_lag_records",
            "Records that lay behind a session's cursor when it read",
            lag.clone(),
        );
        let metrics = Self {
            open: add(r, "connections_open", "Connections, by what they speak"),
            silent: add(r, "connections_silent", "Connections that have not shown yet what they speak"),
            opened: add(r, "connections", "Connections that were accepted, by what they speak"),
            refused_connections: add(r, "connections_refused", "Connections beyond the limit"),
            limited: add(
                r,
                "address_limited",
                "How often an address was refused something or had to wait, by what it had too much of",
            ),
            requests: add(r, "http_requests", "Requests by HTTP, by the status of the answer"),
            delivered: add(
                r,
                "messages_delivered",
                "Messages that took their place in a room's log, joins and leaves among them",
            ),
            held: add(r, "messages_held", "Messages that came before a cause of theirs and were held back"),
            duplicates: add(r, "messages_duplicate", "Copies of messages that were there already"),
            refused: add(
                r,
                "messages_refused",
                "Messages that were not taken, by what they were said in and why",
            ),
            joined: add(r, "members_joined", "Members that joined a room"),
            left: add(r, "members_left", "Members that left a room, or were away too long"),
            resumed: add(r, "resumes", "Members that came back"),
            resumes_refused: add(
                r,
                "resumes_refused",
                "Resumes that were refused: expired, diverged or without the right token",
            ),
            stored_records: add(r, "stored_records", "Records that were stored"),
            stored_bytes: add(r, "stored_bytes", "Bytes of records that were stored"),
            commits_put_off: add(r, "commits_put_off", "Commits that the store could not take at the moment"),
            unread_bytes: add(
                r,
                "unread_bytes",
                "Bytes that connections hold for clients that have not read them",
            ),
            held_bytes: add(r, "held_bytes", "Bytes of messages that rooms hold back"),
            cut: add(
                r,
                "connections_cut",
                "Connections that were ended because they had left too much unread",
            ),
            pending_bytes: add(r, "pending_bytes", "Bytes of records that wait to be stored"),
            reads: add(
                r,
                "log_reads",
                "Reads of logs, by sessions and for many readers at once, from memory and from the store",
            ),
            rooms: add(r, "rooms", "Rooms"),
            members: add(r, "members", "Members, those within grace among them, over all rooms"),
            store_bytes: add(r, "store_bytes", "Bytes of the store's files"),
            staged_bytes: add(r, "store_staged_bytes", "Bytes of records that wait for their rooms' blocks"),
            store_damaged: add(
                r,
                "store_damaged_records",
                "Records that were found damaged or missing while reading",
            ),
            handshakes: add(r, "tls_handshakes", "Handshakes of TLS, by how they ended"),
            lockdown: add(r, "lockdown", "1 while the operator lets nobody new in"),
            certificate_ends: add(
                r,
                "tls_certificate_ends_timestamp_seconds",
                "Time from which on the certificate does not count any more; 0 without one",
            ),
            registry,
            held_for,
            commit_time,
            commit_records,
            lag,
        };
        // They are there before anything is counted, so that a rate has a beginning.
        for protocol in Protocol::ALL {
            drop(metrics.open.get_or_create(&Speaks { protocol }));
            drop(metrics.opened.get_or_create(&Speaks { protocol }));
        }
        for what in Limited::ALL {
            drop(metrics.limited.get_or_create(&Limit { what }));
        }
        for protocol in Protocol::ALL {
            for reason in Refused::ALL {
                drop(metrics.refused.get_or_create(&RefusalLabel { protocol, reason }));
            }
        }
        for result in Handshake::ALL {
            drop(metrics.handshakes.get_or_create(&Ended { result }));
        }
        for from in [Medium::Memory, Medium::Store] {
            drop(metrics.reads.get_or_create(&Source { from }));
        }
        metrics
    }

    /// Counts a connection that has shown what it speaks, until the guard is dropped.
    pub(crate) fn connection(&self, protocol: Protocol) -> Open {
        let speaks = Speaks { protocol };
        self.opened.get_or_create(&speaks).inc();
        let gauge = self.open.get_or_create(&speaks).clone();
        gauge.inc();
        Open(gauge)
    }

    pub(crate) fn connection_refused(&self) {
        self.refused_connections.inc();
    }

    pub(crate) fn limited(&self, what: Limited) {
        self.limited.get_or_create(&Limit { what }).inc();
    }

    pub(crate) fn handshake(&self, result: Handshake) {
        self.handshakes.get_or_create(&Ended { result }).inc();
    }

    /// Counts a message that is not taken.
    pub(crate) fn refused(&self, protocol: Protocol, reason: Refused) {
        self.refused.get_or_create(&RefusalLabel { protocol, reason }).inc();
    }

    pub(crate) fn answered(&self, status: u16) {
        self.requests.get_or_create(&Status { status }).inc();
    }

    /// Counts what has happened in a room between the two.
    pub(crate) fn room(&self, before: &Counts, after: &Counts) {
        let add = |counter: &Counter, before: u64, after: u64| {
            if after > before {
                counter.inc_by(after - before);
            }
        };
        add(&self.delivered, before.delivered, after.delivered);
        add(&self.held, before.held, after.held);
        add(&self.duplicates, before.duplicates, after.duplicates);
        add(&self.joined, before.joined, after.joined);
        add(&self.left, before.left, after.left);
        add(&self.resumed, before.resumed, after.resumed);
        add(&self.resumes_refused, before.resumes_refused, after.resumes_refused);
    }

    pub(crate) fn held_for(&self, time: Duration) {
        self.held_for.observe(time.as_secs_f64());
    }

    pub(crate) fn committed(&self, time: Duration, records: u64, bytes: usize) {
        self.commit_time.observe(time.as_secs_f64());
        self.commit_records.observe(records as f64);
        self.stored_records.inc_by(records);
        self.stored_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn commit_put_off(&self) {
        self.commits_put_off.inc();
    }

    /// Counts that a session has read on, or a pump for all readers at one place, so many records behind the end.
    pub(crate) fn read(&self, lag: u64, from_memory: bool) {
        self.lag.observe(lag as f64);
        self.reads
            .get_or_create(&Source { from: if from_memory { Medium::Memory } else { Medium::Store } })
            .inc();
    }

    /// Returns all of it in the text format of OpenMetrics, which Prometheus reads. O(rooms) for what `store` tells; blocks for
    /// about as long as a read.
    pub(crate) fn text(&self, gauges: Gauges, store: &dyn Store) -> String {
        let stats = store.stats();
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.rooms.set(gauge(gauges.rooms));
        self.members.set(gauge(gauges.members));
        self.silent.set(gauge(gauges.silent));
        self.pending_bytes.set(gauge(gauges.pending_bytes));
        self.unread_bytes.set(gauge(gauges.unread_bytes));
        self.held_bytes.set(gauge(gauges.held_bytes));
        self.cut.inner().store(gauges.cut, std::sync::atomic::Ordering::Relaxed);
        self.store_bytes.get_or_create(&Source { from: Medium::Database }).set(stats.file_bytes);
        self.store_bytes.get_or_create(&Source { from: Medium::Wal }).set(stats.wal_bytes);
        self.staged_bytes.set(stats.staged_bytes);
        self.lockdown.set(gauges.is_locked_down.into());
        self.certificate_ends.set(gauges.certificate_ends);
        self.store_damaged.inner().store(stats.damaged, std::sync::atomic::Ordering::Relaxed);
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

/// Registers a metric.
fn add<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: Clone + Default + prometheus_client::registry::Metric,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A connection that is open.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use causerie_store::MemoryStore;

    use super::*;

    #[test]
    fn metrics_are_named_by_the_conventions_and_count() {
        let metrics = Metrics::new();
        metrics.limited(Limited::Joins);
        metrics.refused(Protocol::Irc, Refused::TooLong);
        let open = metrics.connection(Protocol::Native);
        drop(metrics.connection(Protocol::Native));
        let after = Counts { delivered: 7, held: 2, ..Counts::default() };
        metrics.room(&Counts { delivered: 4, ..Counts::default() }, &after);
        metrics.held_for(Duration::from_millis(5));
        metrics.committed(Duration::from_millis(2), 3, 100);
        metrics.read(9, true);
        metrics.answered(204);
        let gauges = Gauges {
            rooms: 1,
            members: 2,
            silent: 4,
            pending_bytes: 3,
            unread_bytes: 5,
            held_bytes: 6,
            cut: 7,
            is_locked_down: true,
            certificate_ends: 2_000_000_000,
        };
        let text = metrics.text(gauges, &MemoryStore::new());
        for line in [
            "causerie_connections_open{protocol=\"native\"} 1",
            "causerie_connections_total{protocol=\"native\"} 2",
            "causerie_messages_delivered_total 3",
            "causerie_messages_held_total 2",
            "causerie_held_seconds_count 1",
            "causerie_commit_seconds_sum 0.002",
            "causerie_commit_records_count 1",
            "causerie_stored_bytes_total 100",
            "causerie_cursor_lag_records_bucket{le=\"16.0\"} 1",
            "causerie_log_reads_total{from=\"memory\"} 1",
            "causerie_log_reads_total{from=\"store\"} 0",
            "causerie_connections_total{protocol=\"classic\"} 0",
            "causerie_connections_total{protocol=\"irc\"} 0",
            "causerie_connections_open{protocol=\"irc\"} 0",
            "causerie_address_limited_total{what=\"joins\"} 1",
            "causerie_address_limited_total{what=\"messages\"} 0",
            "causerie_connections_silent 4",
            "causerie_http_requests_total{status=\"204\"} 1",
            "causerie_messages_refused_total{protocol=\"irc\",reason=\"too_long\"} 1",
            "causerie_messages_refused_total{protocol=\"http\",reason=\"storage_full\"} 0",
            "causerie_rooms 1",
            "causerie_members 2",
            "causerie_pending_bytes 3",
            "causerie_unread_bytes 5",
            "causerie_held_bytes 6",
            "causerie_connections_cut_total 7",
        ] {
            assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        drop(open);
        let text = metrics.text(gauges, &MemoryStore::new());
        assert!(text.contains("causerie_connections_open{protocol=\"native\"} 0\n"));
    }
}

//! A guard that is weakened, and the tests that must notice.

/// One guard, weakened.
pub(super) struct Mutant {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    /// What stands there once, and what in its place.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) suite: Suite,
}

/// Tests of which one must notice.
#[derive(Clone, Copy)]
pub(super) enum Suite {
    /// Those of cbcast and of its simulator.
    Library,
    /// Those of the room, the session and what is said; client sessions in bad weather.
    Sessions,
    /// Those of the store.
    Store,
    /// Those of the server, with real sockets.
    Server,
    /// Real processes.
    Processes,
    /// Those of the client library, and of real clients before servers that are not what they seem.
    Clients,
    /// Those of the server by TLS, behind proxies and in a lockdown.
    Edge,
}

impl Suite {
    /// A package and its test targets, in the order in which they are run.
    pub(super) const fn stages(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Library => &[
                &["-p", "cbcast", "--lib", "--test", "scenarios", "--test", "limits", "--test", "flush"],
                &["-p", "cbcast", "--test", "hosts", "--test", "rollback", "--test", "departed"],
                &["-p", "cbcast", "--test", "durable", "--test", "topologies"],
                &["-p", "cbcast", "--test", "mesh", "--test", "random"],
                &["-p", "cbcast", "--test", "exhaustive"],
                &["-p", "cbcast-sim", "--test", "hosts", "--test", "swarm"],
            ],
            Self::Sessions => &[&["-p", "causerie-core", "--lib", "--test", "kept", "--test", "bad_weather"]],
            Self::Store => &[
                &[
                    "-p",
                    "causerie-store",
                    "--lib",
                    "--test",
                    "conformance",
                    "--test",
                    "folder",
                    "--test",
                    "upgrade",
                ],
                &["-p", "causerie-store", "--test", "faults", "--test", "crash"],
            ],
            Self::Server => &[
                &[
                    "-p",
                    "causerie-server",
                    "--lib",
                    "--test",
                    "native",
                    "--test",
                    "history",
                    "--test",
                    "addresses",
                    "--test",
                    "stalled",
                    "--test",
                    "full",
                ],
                &["-p", "causerie", "--test", "crash", "--test", "damage"],
            ],
            Self::Processes => &[&["-p", "causerie", "--test", "causal_order"]],
            Self::Edge => &[
                &["-p", "causerie-gateway", "--lib"],
                &[
                    "-p",
                    "causerie-server",
                    "--lib",
                    "--test",
                    "tls",
                    "--test",
                    "proxies",
                    "--test",
                    "lockdown",
                    "--test",
                    "acme",
                ],
            ],
            Self::Clients => &[&["-p", "causerie-client", "--lib"], &["-p", "causerie", "--test", "trust"]],
        }
    }
}

pub(super) const fn library(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutant {
    Mutant { name, file, from, to, suite: Suite::Library }
}

pub(super) const fn session(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutant {
    Mutant { name, file, from, to, suite: Suite::Sessions }
}

pub(super) const fn store(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutant {
    Mutant { name, file, from, to, suite: Suite::Store }
}

pub(super) const fn server(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutant {
    Mutant { name, file, from, to, suite: Suite::Server }
}

pub(super) const fn edge(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutant {
    Mutant { name, file, from, to, suite: Suite::Edge }
}

pub(super) const fn client(
    name: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
) -> Mutant {
    Mutant { name, file, from, to, suite: Suite::Clients }
}

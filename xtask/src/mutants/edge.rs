//! The edge to the network: encryption, trusted proxies and lockdown.

use super::mutant::{Mutant, edge};

const ACME: &str = "crates/causerie-server/src/certificates/acme.rs";
const ADMISSION: &str = "crates/causerie-server/src/door.rs";
const CERTIFICATES: &str = "crates/causerie-server/src/certificates.rs";
const CONTROL: &str = "crates/causerie-server/src/door/control.rs";
const DIRECTORY: &str = "crates/causerie-server/src/rooms/directory.rs";
const FOLLOWING: &str = "crates/causerie-server/src/gateways/http/forwarded.rs";
const FORWARDED: &str = "crates/causerie-gateway/src/proxy/forwarded.rs";
const HEADER: &str = "crates/causerie-gateway/src/proxy/header.rs";
const IRC: &str = "crates/causerie-server/src/gateways/irc.rs";
const LOCKDOWN: &str = "crates/causerie-server/src/lockdown.rs";
const TLS: &str = "crates/causerie-server/src/net/tls.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    edge(
        "clear text is taken where it is not allowed",
        ADMISSION,
        "if !stream.is_encrypted() && !may_be_clear {",
        "if false && !may_be_clear {",
    ),
    edge(
        "a port of one protocol speaks what was agreed upon instead",
        ADMISSION,
        "Takes::Only(protocol) if protocol == spoken =>",
        "Takes::Only(_) =>",
    ),
    edge(
        "anybody is a proxy",
        ADMISSION,
        "let is_proxied = server.settings().is_trusted_proxy(peer.ip());",
        "let is_proxied = true;",
    ),
    edge(
        "a proxy that has to tell its visitor need not",
        ADMISSION,
        "Introduction::Missing if self.server.settings().proxy_protocol =>",
        "Introduction::Missing if false =>",
    ),
    edge("what is encrypted ahead has no bound", TLS, "Some(RECORD_MAX)", "None"),
    edge(
        "browsers are asked for certificates",
        CERTIFICATES,
        "} else if hello.alpn().is_none() || offers(hello, ALPN_NATIVE) || offers(hello, ALPN_IRC) {",
        "} else if true {",
    ),
    edge(
        "what an authority asks for is not answered by TLS",
        CERTIFICATES,
        "let config = if offers(hello, ALPN_ACME) {",
        "let config = if false {",
    ),
    edge(
        "a certificate for other names will do",
        ACME,
        "Ok(has_all.then_some(chain))",
        "Ok(Some(chain).filter(|_| has_all || true))",
    ),
    edge(
        "a certificate that was not kept is ordered again",
        ACME,
        "        self.keep(settings)?;\n        let known",
        "        let known",
    ),
    edge(
        "whoever comes by IRC is told to come by TLS",
        IRC,
        "if server.has_trusted_certificate()\n        && begun",
        "if begun",
    ),
    edge(
        "who trusts nothing is told to come by TLS from now on",
        IRC,
        "is_trusted.then_some(ENCRYPTED_FOR)",
        "Some(ENCRYPTED_FOR).filter(|_| is_trusted || true)",
    ),
    edge(
        "strangers say who they are",
        FOLLOWING,
        "if !settings.is_trusted_proxy(connection.peer.ip()) {",
        "if false {",
    ),
    edge(
        "a proxy's visitors by clear text are served",
        FOLLOWING,
        "if !is_encrypted && !is_clear_allowed {",
        "if false {",
    ),
    edge(
        "the first entry of a chain of proxies is the visitor",
        FORWARDED,
        "hops.iter().rposition(",
        "hops.iter().position(",
    ),
    edge("two headers may tell two visitors", FORWARDED, "&& one.address != other.address", "&& false"),
    edge("a header may tell an address twice", FORWARDED, "if !is_new {", "if false {"),
    edge("a PROXY header may be of any length", HEADER, "if FIXED + length > HEADER_MAX {", "if false {"),
    edge(
        "what stands behind the addresses is not looked at",
        HEADER,
        "    check_additions(additions)?;\n",
        "",
    ),
    edge("ports may begin with zeros", HEADER, ".filter(|_| is_plain)", ""),
    edge(
        "rooms are made in a lockdown",
        DIRECTORY,
        "        self.check_free(&rooms, &name)?;\n        if self.lockdown.is_on() {",
        "        self.check_free(&rooms, &name)?;\n        if false {",
    ),
    edge("new names are let in in a lockdown", DIRECTORY, "admits: !self.lockdown.is_on()", "admits: true"),
    edge(
        "limits are as ever in a lockdown",
        LOCKDOWN,
        "if self.is_on() { least(limits) } else { limits }",
        "limits",
    ),
    edge(
        "others of this machine may operate",
        CONTROL,
        "Permissions::from_mode(0o600)",
        "Permissions::from_mode(0o666)",
    ),
    edge(
        "certificates of clients may be thousands",
        CERTIFICATES,
        "size_of_val(certificate) + certificate.len()",
        "certificate.len()",
    ),
];

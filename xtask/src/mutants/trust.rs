//! Servers that are trusted, and that are not: guards of the client.

use super::mutant::{Mutant, client};

const CONNECTION: &str = "crates/causerie-client/src/connection.rs";
const DRIVER: &str = "crates/causerie-client/src/driver.rs";
const TRUST: &str = "crates/causerie-client/src/trust.rs";
const HANDSHAKE: &str = "crates/causerie-client/src/trust/handshake.rs";
const KNOWN: &str = "crates/causerie-client/src/trust/known.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    client(
        "a server is spoken to before it is judged",
        CONNECTION,
        "security.judge(server, &shown)?;",
        "let _ = security.judge(server, &shown);",
    ),
    client("another key than the pinned one will do", TRUST, "fingerprint == expected", "true"),
    client(
        "an authority vouches for another key than the pinned one",
        TRUST,
        "if let Some(expected) = self.pinned {",
        "if let (Some(expected), Err(_)) = (self.pinned, &shown.certificate) {",
    ),
    client(
        "a key that has changed is new",
        TRUST,
        "match known.into_iter().next() {",
        "match known.into_iter().find(|_| false) {",
    ),
    client("any name that leads here is this machine", TRUST, "(is_local_name || is_address) && ", ""),
    client(
        "one address of this machine makes it this machine",
        TRUST,
        "iter().all(is_here)",
        "iter().any(is_here)",
    ),
    client(
        "whatever a certificate says is in order",
        HANDSHAKE,
        "verified.map(drop).map_err(|error| in_words(&error))",
        "verified.map(drop).or_else(|error| Ok(drop(in_words(&error))))",
    ),
    client(
        "who shows a certificate need not have its key",
        HANDSHAKE,
        "        verify_tls13_signature(",
        "        #[allow(unreachable_code)]\n        return Ok(HandshakeSignatureValid::assertion());\n        verify_tls13_signature(",
    ),
    client(
        "who shows a certificate by TLS 1.2 need not have its key",
        HANDSHAKE,
        "        verify_tls12_signature(",
        "        #[allow(unreachable_code)]\n        return Ok(HandshakeSignatureValid::assertion());\n        verify_tls12_signature(",
    ),
    client(
        "somebody is asked in the middle of a conversation",
        DRIVER,
        "self.security.clone().without_asking()",
        "self.security.clone()",
    ),
    client(
        "who comes to a server that is not trusted forgets who it is",
        DRIVER,
        "if let Some(mut kept) = self.kept.take() {\n            kept.written_at",
        "if let Some(mut kept) = self.kept.take_if(|_| false) {\n            kept.written_at",
    ),
    client(
        "a damaged line is skipped",
        KNOWN,
        "return Err(KnownServersError::Damaged { path: self.path.clone(), line });\n            };",
        "continue;\n            };",
    ),
    client(
        "two who write at the same time do not wait for each other",
        KNOWN,
        "        lock.lock().map_err(unwritable)?;\n",
        "        let _ = &lock;\n",
    ),
];

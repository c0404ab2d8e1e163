//! Trust in a server: whether the key at the other end of a connection is the one that is meant.
//!
//! The handshake of TLS shows that the other side has a key. It is trusted
//! 1. if it was [pinned](Security::pin): that one, and no other;
//! 2. if an authority that the system trusts vouches for it under the server's name;
//! 3. if the [known servers](KnownServers) have it;
//! 4. if nothing is known of the server, and who is [asked](Security::ask) says so: then it is known from now on.
//!
//! Invariant: not one byte of ours goes out before that is decided, beside the handshake's own. Another key than the known one
//! is never asked about, and nothing ever falls back to clear text.

mod fingerprint;
mod handshake;
mod known;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use causerie_core::content::text::visible;
use thiserror::Error;

pub use self::fingerprint::{Fingerprint, FingerprintError};
pub use self::handshake::NotTls;
pub(crate) use self::handshake::{TlsStream, shake_hands};
pub use self::known::{KnownServers, KnownServersError};

/// A server that is new: what whoever is asked decides by.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stranger {
    /// Address of the server.
    pub server: String,
    /// Fingerprint of its key.
    pub fingerprint: Fingerprint,
    /// Reason why its certificate does not speak for itself, in words that follow "and".
    pub why: String,
}

/// Error of trusting a server. Nothing was sent to it; connecting again changes nothing by itself.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TrustError {
    /// Nothing is known of the server, and nobody was there to be asked.
    #[error("{} is new to this computer, and {}: {}", visible(&.0.server), visible(&.0.why), .0.fingerprint)]
    Unknown(Stranger),
    /// Who was asked said no.
    #[error("{} is not trusted: {}", visible(&.0.server), .0.fingerprint)]
    Declined(Stranger),
    /// The server is known by another key.
    #[error(
        "{} shows another key than the one that is known: {shown} now, {known}{} before. It may be somebody else; nothing \
         was sent",
        visible(server),
        at(place)
    )]
    Changed {
        /// Address of the server.
        server: String,
        /// Fingerprint of the key that it has now.
        shown: Fingerprint,
        /// Fingerprint of the key that is known.
        known: Fingerprint,
        /// File and line that know it, if it is in one.
        place: Option<(PathBuf, usize)>,
    },
    /// The server has another key than the one that was asked for.
    #[error(
        "{} shows another key than the one that is expected: {shown}, not {expected}. It may be somebody else; nothing was \
         sent",
        visible(server)
    )]
    NotThePinned {
        /// Address of the server.
        server: String,
        /// Fingerprint of the key that it has.
        shown: Fingerprint,
        /// Fingerprint that was [pinned](Security::pin).
        expected: Fingerprint,
    },
    /// The known servers cannot be read, or one more cannot be written down.
    #[error(transparent)]
    Known(#[from] KnownServersError),
}

fn at(place: &Option<Place>) -> String {
    let told = |(file, line): &Place| format!(" ({}:{line})", visible(&file.display().to_string()));
    place.as_ref().map_or_else(String::new, told)
}

/// Protection of connections: TLS or clear text, and which servers are trusted.
///
/// By default servers on this machine (loopback) are spoken to in clear text and all others by TLS, whose certificates must be
/// in order by the system's authorities. A server whose certificate is its own is refused unless its key was
/// [pinned](Self::pin), is [known](Self::known_servers), or somebody is [asked](Self::ask).
///
/// ```no_run
/// use causerie_client::{KnownServers, RoomOptions, Security};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let security = Security::new().known_servers(KnownServers::new("known_servers")).ask(|stranger| {
///     println!("{} is new: {}. Is that what its operator tells? [y/N]", stranger.server, stranger.fingerprint);
///     let mut answer = String::new();
///     std::io::stdin().read_line(&mut answer).is_ok() && answer.trim() == "y"
/// });
/// let room = RoomOptions::new("chat.example.org:12343", "lobby", "Raj").security(security).join().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Security {
    when: Encrypted,
    pinned: Option<Fingerprint>,
    known: Option<KnownServers>,
    ask: Option<Arc<Question>>,
    /// Keys that were accepted and stand in no file. Clones share them.
    accepted: Arc<Mutex<BTreeMap<String, Fingerprint>>>,
}

/// File and line.
type Place = (PathBuf, usize);

/// Asks whether a stranger is trusted. It may block.
type Question = dyn Fn(&Stranger) -> bool + Send + Sync;

/// Connections that are encrypted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Encrypted {
    /// Those to other machines.
    #[default]
    Beyond,
    Always,
    Never,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, pinned, known, ask, .. } = self;
        let mut debug = f.debug_struct("Security");
        debug.field("when", when).field("pinned", pinned).field("known", known);
        debug.field("asks", &ask.is_some()).finish()
    }
}

impl Security {
    /// TLS beyond loopback, by the system's authorities alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// TLS on loopback, too.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.when = Encrypted::Always;
        self
    }

    /// Clear text, to whatever server: all who are on the way can read and change what is said, and act in your name.
    #[must_use]
    pub fn clear_text(mut self) -> Self {
        self.when = Encrypted::Never;
        self
    }

    /// Trusts the server with this key, and no other, whatever its certificate says; and speaks TLS on loopback, too. What is
    /// pinned so is not written down.
    #[must_use]
    pub fn pin(mut self, key: Fingerprint) -> Self {
        self.pinned = Some(key);
        self.tls()
    }

    /// Trusts servers by the keys in this file where no authority vouches for them, and adds those that are accepted.
    #[must_use]
    pub fn known_servers(mut self, known: KnownServers) -> Self {
        self.known = Some(known);
        self
    }

    /// Asks about servers of which nothing is known, instead of refusing them. The function may block: it has a thread to
    /// itself. The connection is closed meanwhile, and made anew after a yes. The first attempt to connect asks; those that go on
    /// in the background do not, and a key that has changed is never asked about.
    #[must_use]
    pub fn ask(mut self, question: impl Fn(&Stranger) -> bool + Send + Sync + 'static) -> Self {
        self.ask = Some(Arc::new(question));
        self
    }

    /// The same, without anybody to be asked.
    #[must_use]
    pub fn without_asking(mut self) -> Self {
        self.ask = None;
        self
    }

    /// Returns whether connections to the server at `HOST:PORT` are encrypted, which was found at these addresses.
    #[must_use]
    pub fn encrypts(&self, server: &str, addresses: &[SocketAddr]) -> bool {
        match self.when {
            Encrypted::Always => true,
            Encrypted::Never => false,
            Encrypted::Beyond => !is_loopback(server, addresses),
        }
    }

    /// Judges the key that a server has shown in a handshake, and what its certificate says of it.
    pub(crate) fn judge(&self, server: &str, shown: &Shown) -> Result<(), TrustError> {
        let (server, fingerprint) = (server.to_owned(), shown.fingerprint);
        if let Some(expected) = self.pinned {
            let is_it = fingerprint == expected;
            return if is_it {
                Ok(())
            } else {
                Err(TrustError::NotThePinned { server, shown: fingerprint, expected })
            };
        }
        let Err(why) = &shown.certificate else { return Ok(()) };
        let known = self.keys(&server)?;
        if known.iter().any(|(key, _)| *key == fingerprint) {
            return Ok(());
        }
        match known.into_iter().next() {
            Some((known, place)) => Err(TrustError::Changed { server, shown: fingerprint, known, place }),
            None => Err(TrustError::Unknown(Stranger { server, fingerprint, why: why.clone() })),
        }
    }

    /// The keys by which a server is known, and where that stands.
    fn keys(&self, server: &str) -> Result<Vec<(Fingerprint, Option<Place>)>, TrustError> {
        let Some(file) = &self.known else {
            let accepted = self.accepted.lock().expect("nothing panics while holding it");
            return Ok(accepted.get(&known::name(server)).map(|key| (*key, None)).into_iter().collect());
        };
        let place = |line| Some((file.path().to_owned(), line));
        Ok(file.keys(server)?.into_iter().map(|(key, line)| (key, place(line))).collect())
    }

    /// Returns whether somebody is asked about servers that are new.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.ask.is_some()
    }

    /// Returns whether anything is known of a server.
    ///
    /// # Errors
    /// [`TrustError::Known`].
    pub fn knows(&self, server: &str) -> Result<bool, TrustError> {
        Ok(self.pinned.is_some() || !self.keys(server)?.is_empty())
    }

    /// Asks about a stranger, and keeps the answer if it is a yes.
    pub(crate) async fn meet(&self, stranger: Stranger) -> Result<(), TrustError> {
        let Some(ask) = self.ask.clone() else { return Err(TrustError::Unknown(stranger)) };
        let (security, asked) = (self.clone(), stranger.clone());
        let answered = tokio::task::spawn_blocking(move || {
            if ask(&asked) { security.accept(asked) } else { Err(TrustError::Declined(asked)) }
        });
        match answered.await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is ending.
            Err(_) => Err(TrustError::Unknown(stranger)),
        }
    }

    /// Takes note of a stranger's key, unless the server has got to be known by another one since it was judged: whoever was asked
    /// was told that nothing is known of it.
    fn accept(&self, stranger: Stranger) -> Result<(), TrustError> {
        let Stranger { server, fingerprint: shown, .. } = stranger;
        let other = match &self.known {
            Some(file) => {
                let other = file.add_first(&server, shown)?;
                other.map(|(known, line)| (known, Some((file.path().to_owned(), line))))
            }
            None => {
                let mut accepted = self.accepted.lock().expect("nothing panics while holding it");
                let known = *accepted.entry(known::name(&server)).or_insert(shown);
                (known != shown).then_some((known, None))
            }
        };
        match other {
            Some((known, place)) => Err(TrustError::Changed { server, shown, known, place }),
            None => Ok(()),
        }
    }
}

/// Key that a server has shown, and whether its certificate is in order: if not, why, in words that follow "and".
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) certificate: Result<(), String>,
}

/// Splits `HOST:PORT`, and takes the brackets of IPv6 away.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Returns whether a server is on this machine: by its address, or by a name that means nothing else and was found nowhere else.
/// Another name may lead here today and elsewhere tomorrow, as whoever answers for it likes.
fn is_loopback(server: &str, addresses: &[SocketAddr]) -> bool {
    let host = host(server).trim_end_matches('.').to_ascii_lowercase();
    let is_local_name = host == "localhost" || host.ends_with(".localhost");
    let is_address = host.parse::<IpAddr>().is_ok();
    let is_here = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    (is_local_name || is_address) && !addresses.is_empty() && addresses.iter().all(is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Fingerprint {
        Fingerprint::new([byte; 32])
    }

    fn shown(byte: u8) -> Shown {
        Shown { fingerprint: key(byte), certificate: Err("its certificate is its own".into()) }
    }

    #[test]
    fn clear_text_is_for_this_machine_by_itself() {
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let here6: SocketAddr = "[::1]:1".parse().unwrap();
        let there: SocketAddr = "192.0.2.1:1".parse().unwrap();
        for (server, addresses, encrypts) in [
            ("127.0.0.1:1", vec![here], false),
            ("127.9.9.9:1", vec!["127.9.9.9:1".parse().unwrap()], false),
            ("[::1]:1", vec![here6], false),
            ("[::ffff:127.0.0.1]:1", vec!["[::ffff:127.0.0.1]:1".parse().unwrap()], false),
            ("localhost:1", vec![here6, here], false),
            ("LocalHost.:1", vec![here], false),
            ("a.localhost:1", vec![here], false),
            // Names lead where others like.
            ("localhost:1", vec![here, there], true),
            ("localhost:1", vec![], true),
            ("chat.example.org:1", vec![here], true),
            ("localhost.example.org:1", vec![here], true),
            ("192.0.2.1:1", vec![there], true),
            ("0.0.0.0:1", vec!["0.0.0.0:1".parse().unwrap()], true),
        ] {
            assert_eq!(Security::new().encrypts(server, &addresses), encrypts, "{server} {addresses:?}");
            assert!(Security::new().tls().encrypts(server, &addresses));
            assert!(Security::new().pin(key(1)).encrypts(server, &addresses));
            assert!(!Security::new().clear_text().encrypts(server, &addresses));
        }
    }

    #[test]
    fn a_key_is_judged_by_what_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path().join("known_servers"));
        let security = Security::new().known_servers(known.clone());
        let judged = |byte| security.judge("chat.example.org:12343", &shown(byte));
        assert!(matches!(judged(1), Err(TrustError::Unknown(_))));
        known.add("other.example.org:12343", key(1)).unwrap();
        known.add("chat.example.org:1", key(1)).unwrap();
        assert!(matches!(judged(1), Err(TrustError::Unknown(_))), "another server, another port");
        known.add("chat.example.org:12343", key(1)).unwrap();
        assert_eq!(judged(1), Ok(()));
        assert_eq!(security.judge("CHAT.example.org.:12343", &shown(1)), Ok(()), "the same name");
        let Err(error @ TrustError::Changed { .. }) = judged(2) else { panic!() };
        let words = error.to_string();
        for part in [&key(1).to_string(), &key(2).to_string(), "known_servers:4)"] {
            assert!(words.contains(part), "{words}");
        }
        // Who has several has any of them.
        known.add("chat.example.org:12343", key(3)).unwrap();
        assert_eq!((judged(1), judged(3)), (Ok(()), Ok(())));
        assert!(matches!(judged(2), Err(TrustError::Changed { .. })));
        // A certificate that is in order needs none.
        let in_order = Shown { fingerprint: key(2), certificate: Ok(()) };
        assert_eq!(security.judge("chat.example.org:12343", &in_order), Ok(()));
        // What is pinned counts alone.
        let pinned = security.clone().pin(key(2));
        assert_eq!(pinned.judge("chat.example.org:12343", &shown(2)), Ok(()));
        let in_order = Shown { fingerprint: key(1), certificate: Ok(()) };
        let refused = pinned.judge("chat.example.org:12343", &in_order);
        assert!(matches!(refused, Err(TrustError::NotThePinned { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn what_is_accepted_without_a_file_is_known_as_long_as_the_program_runs() {
        let security = Security::new().ask(|stranger| stranger.fingerprint == key(1));
        let stranger = |byte| match security.judge("chat.example.org:12343", &shown(byte)) {
            Err(TrustError::Unknown(stranger)) => stranger,
            other => panic!("{other:?}"),
        };
        assert!(matches!(security.meet(stranger(2)).await, Err(TrustError::Declined(_))));
        let later = security.clone().without_asking();
        assert!(matches!(later.meet(stranger(1)).await, Err(TrustError::Unknown(_))));
        security.meet(stranger(1)).await.unwrap();
        assert_eq!(later.judge("chat.example.org:12343", &shown(1)), Ok(()));
        let changed = later.judge("chat.example.org:12343", &shown(2));
        assert!(matches!(changed, Err(TrustError::Changed { place: None, .. })), "{changed:?}");
    }

    #[tokio::test]
    async fn who_gets_to_be_known_while_somebody_is_asked_is_no_stranger_any_more() {
        let server = "chat.example.org:12343";
        let stranger = |byte| Stranger { server: server.into(), fingerprint: key(byte), why: String::new() };
        let dir = tempfile::tempdir().unwrap();
        let known = KnownServers::new(dir.path().join("known_servers"));
        let file = known.clone();
        let security = Security::new().known_servers(known.clone()).ask(move |_| {
            file.add("Chat.example.org:12343", key(1)).unwrap();
            true
        });
        let refused = security.meet(stranger(2)).await;
        let Err(TrustError::Changed { shown, known: before, place, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((shown, before, place), (key(2), key(1), Some((known.path().to_owned(), 2))));
        assert_eq!(known.keys(server), Ok(vec![(key(1), 2)]), "nothing is added");
        assert_eq!(security.meet(stranger(1)).await, Ok(()));
        assert_eq!(known.keys(server).unwrap().len(), 1);

        let security = Security::new().ask(|_| true);
        let (one, two) = tokio::join!(security.meet(stranger(1)), security.meet(stranger(2)));
        let refused = [one, two].into_iter().find(Result::is_err);
        assert!(matches!(refused, Some(Err(TrustError::Changed { place: None, .. }))), "{refused:?}");
    }
}

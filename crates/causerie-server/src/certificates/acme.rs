//! Certificates that an authority makes, by ACME [RFC 8555]: it looks whether the server has its names, by `tls-alpn-01`
//! [RFC 8737] on the server's own port or by `http-01`, and says itself when a certificate is to be renewed [ARI, RFC 9773].

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier,
    NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::certificates::chain::{CertificateError, Chain};
use crate::certificates::keep::write_private;
use crate::settings::{AcmeChallenge, AcmeSettings};

/// Files in the folder: the chain behind its key, and the account.
const CHAIN: &str = "acme.pem";
const ACCOUNT: &str = "acme-account.json";

/// Time that an authority may take to look, and to make a certificate.
const PATIENCE: Duration = Duration::from_secs(180);
/// Time between looks whether a certificate is to be renewed, where the authority does not say.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Time that getting a certificate may take in all.
const RENEWAL_MAX: Duration = Duration::from_secs(900);
/// Time after which a certificate that was just made is looked at again, whatever the authority and the clock say.
const RENEWALS_APART: Duration = Duration::from_secs(3_600);
/// Times after failures: each is twice the one before.
const RETRY_MIN: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Answers to an authority that looks who has a name.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// By the name that is asked for by TLS.
    pub(super) by_tls: BTreeMap<String, Arc<CertifiedKey>>,
    /// By token.
    pub(super) by_http: BTreeMap<String, String>,
}

/// An account at an authority, as it is kept.
#[derive(Deserialize, Serialize)]
struct KeptAccount {
    directory: String,
    credentials: AccountCredentials,
}

/// Way of getting certificates, with what is known of the next renewal.
pub(super) struct Renewal {
    account: Option<(String, Account)>,
    /// Time at which the certificate of this serial number is renewed, as was drawn.
    drawn: Option<(String, SystemTime)>,
    failures: u32,
    /// A certificate that was made and could not be kept, in PEM form.
    unkept: Option<String>,
}

/// Returns the certificate that was made before, if it is for these names.
pub(super) fn kept(settings: &AcmeSettings, names: &[String]) -> Result<Option<Chain>, CertificateError> {
    let path = settings.folder.join(CHAIN);
    match std::fs::read(&path) {
        Ok(pem) => {
            let chain = Chain::parse((&path, &pem), (&path, &pem), names)?;
            let has_all =
                names.iter().all(|name| chain.info.names.iter().any(|has| has.eq_ignore_ascii_case(name)));
            Ok(has_all.then_some(chain))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(CertificateError::Unreadable { path, why }),
    }
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self { account: None, drawn: None, failures: 0, unkept: None }
    }

    /// Gets a certificate if there is none or it is time for another, with `answer` telling how the authority is answered while
    /// it looks. Returns the new one, and after which time this is to be asked again.
    pub(super) async fn renew(
        &mut self,
        settings: &AcmeSettings,
        names: &[String],
        answer: impl Fn(Answers),
    ) -> (Result<Option<Chain>, CertificateError>, Duration) {
        let renewing = self.try_renew(settings, names, &answer);
        let renewed = tokio::time::timeout(RENEWAL_MAX, renewing).await;
        let renewed = renewed.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        answer(Answers::default());
        match renewed {
            Ok((chain, wait)) => {
                self.failures = 0;
                (Ok(chain), wait)
            }
            Err(why) => {
                // Another account may be needed, or the same once more.
                self.account = None;
                let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(16)).min(RETRY_MAX);
                self.failures += 1;
                (Err(CertificateError::Authority(why)), wait)
            }
        }
    }

    async fn try_renew(
        &mut self,
        settings: &AcmeSettings,
        names: &[String],
        answer: &impl Fn(Answers),
    ) -> Result<(Option<Chain>, Duration), String> {
        let text = |error: CertificateError| error.to_string();
        // Before another is asked for: authorities count.
        let was_unkept = self.unkept.is_some();
        self.keep(settings)?;
        let known = kept(settings, names).map_err(text)?;
        if was_unkept && known.is_some() {
            return Ok((known, RENEWALS_APART));
        }
        let account = self.account(settings).await?;
        if let Some(chain) = &known {
            let (at, look) = self.due(&account, chain).await;
            let wait = at.duration_since(SystemTime::now()).unwrap_or_default();
            if !wait.is_zero() {
                return Ok((known, wait.min(look)));
            }
        }
        let pem = order(&account, settings, names, known.as_ref(), answer).await?;
        let path = settings.folder.join(CHAIN);
        let chain = Chain::parse((&path, pem.as_bytes()), (&path, pem.as_bytes()), names).map_err(text)?;
        self.unkept = Some(pem);
        if let Err(why) = self.keep(settings) {
            warn!("the new certificate is shown, and cannot be kept yet: {why}");
            return Ok((Some(chain), RETRY_MIN));
        }
        let (at, look) = self.due(&account, &chain).await;
        let wait = at.duration_since(SystemTime::now()).unwrap_or_default().min(look).max(RENEWALS_APART);
        Ok((Some(chain), wait))
    }

    /// Writes the certificate that was made, if it is not kept yet.
    fn keep(&mut self, settings: &AcmeSettings) -> Result<(), String> {
        let Some(pem) = &self.unkept else { return Ok(()) };
        let path = settings.folder.join(CHAIN);
        write_private(&path, pem.as_bytes()).map_err(|error| format!("{}: {error}", path.display()))?;
        self.unkept = None;
        Ok(())
    }

    /// Returns the account at the authority, which is made if there is none.
    async fn account(&mut self, settings: &AcmeSettings) -> Result<Account, String> {
        if let Some((directory, account)) = &self.account
            && *directory == settings.directory
        {
            return Ok(account.clone());
        }
        let builder = match &settings.roots {
            Some(roots) => Account::builder_with_root(roots),
            None => Account::builder(),
        };
        let builder = builder.map_err(words)?;
        let path = settings.folder.join(ACCOUNT);
        let kept =
            std::fs::read(&path).ok().and_then(|json| serde_json::from_slice::<KeptAccount>(&json).ok());
        let account = match kept.filter(|kept| kept.directory == settings.directory) {
            Some(kept) => builder.from_credentials(kept.credentials).await.map_err(words)?,
            None => {
                let contact = settings.contact.as_ref().map(|contact| format!("mailto:{contact}"));
                let contact: Vec<_> = contact.iter().map(String::as_str).collect();
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let made = builder.create(&new, settings.directory.clone(), None).await;
                let (account, credentials) = made.map_err(words)?;
                let kept = KeptAccount { directory: settings.directory.clone(), credentials };
                let json = serde_json::to_vec_pretty(&kept).map_err(words)?;
                write_private(&path, &json).map_err(|error| format!("{}: {error}", path.display()))?;
                account
            }
        };
        self.account = Some((settings.directory.clone(), account.clone()));
        Ok(account)
    }

    /// Returns when this certificate is to be renewed, and after which time that is to be asked again: as the authority says, and
    /// where it says nothing, when a third of its time is left.
    async fn due(&mut self, account: &Account, chain: &Chain) -> (SystemTime, Duration) {
        let third = third(&chain.info.starts, &chain.info.ends);
        let Ok(id) = CertificateIdentifier::try_from(&chain.key.cert[0]) else { return (third, LOOK_EVERY) };
        let Ok((told, look)) = account.renewal_info(&id).await else { return (third, LOOK_EVERY) };
        let seconds = |time: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or(0));
        let start = seconds(told.suggested_window.start.unix_timestamp());
        let end = seconds(told.suggested_window.end.unix_timestamp());
        // Drawn once for each certificate: all who look at once would come at once.
        let serial = id.to_string();
        let drawn = match &self.drawn {
            Some((known, at)) if *known == serial && (start..=end).contains(at) => *at,
            _ => start + within(end.duration_since(start).unwrap_or_default()),
        };
        self.drawn = Some((serial, drawn));
        (drawn.min(seconds(i64::try_from(chain.info.ends).unwrap_or(i64::MAX))), look.max(RETRY_MIN))
    }
}

/// Returns the time at which a third of a certificate's time is left.
fn third(starts: &u64, ends: &u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(ends.saturating_sub(ends.saturating_sub(*starts) / 3))
}

/// Returns a time below this one, drawn at random.
fn within(time: Duration) -> Duration {
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    time.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}

/// Has a certificate made. Returns its key and the chain, in PEM form.
async fn order(
    account: &Account,
    settings: &AcmeSettings,
    names: &[String],
    known: Option<&Chain>,
    answer: &impl Fn(Answers),
) -> Result<String, String> {
    let identifier = |name: &String| {
        name.parse().map_or_else(|_| Identifier::Dns(name.to_ascii_lowercase()), Identifier::Ip)
    };
    let identifiers: Vec<_> = names.iter().map(identifier).collect();
    let new = || match &settings.profile {
        Some(profile) => NewOrder::new(&identifiers).profile(profile),
        None => NewOrder::new(&identifiers),
    };
    let replaced = known.and_then(|chain| CertificateIdentifier::try_from(&chain.key.cert[0]).ok());
    let renewed = match replaced.map(CertificateIdentifier::into_owned) {
        Some(replaced) => account.new_order(&new().replaces(replaced)).await.ok(),
        None => None,
    };
    let mut order = match renewed {
        Some(order) => order,
        // Also where the authority knows nothing of what is replaced, or has replaced it before.
        None => account.new_order(&new()).await.map_err(words)?,
    };
    let kind = match settings.challenge {
        AcmeChallenge::TlsAlpn => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http => ChallengeType::Http01,
    };
    let mut answers = Answers::default();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(words)?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            // What it has found against one name it tells with the order.
            _ => break,
        }
        let name = authorization.identifier().to_string();
        let challenge = authorization.challenge(kind.clone());
        let mut challenge =
            challenge.ok_or_else(|| format!("the authority does not offer {kind:?} for {name}"))?;
        let proof = challenge.key_authorization();
        match settings.challenge {
            AcmeChallenge::TlsAlpn => {
                let key = challenge_certificate(&name, proof.digest().as_ref())?;
                answers.by_tls.insert(asked_name(&name), Arc::new(key));
            }
            AcmeChallenge::Http => {
                answers.by_http.insert(challenge.token.clone(), proof.as_str().to_owned());
            }
        }
        answer(Answers { by_tls: answers.by_tls.clone(), by_http: answers.by_http.clone() });
        challenge.set_ready().await.map_err(words)?;
    }
    let patience = RetryPolicy::new().timeout(PATIENCE);
    match order.poll_ready(&patience).await.map_err(words)? {
        OrderStatus::Ready => {}
        status => {
            return Err(refused(&mut order).await.unwrap_or_else(|| format!("the order is {status:?}")));
        }
    }
    let key = order.finalize().await.map_err(words)?;
    let chain = order.poll_certificate(&patience).await.map_err(words)?;
    Ok(key + &chain)
}

/// Returns why the authority does not believe that the server has its names.
async fn refused(order: &mut instant_acme::Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let state = authorization.refresh().await.ok()?;
        let name = state.identifier().to_string();
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            return Some(format!("the authority did not find {name} here: {problem}"));
        }
    }
    None
}

/// Returns the words of an error, with those of its causes.
fn words(error: impl std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// Makes the certificate that answers an authority which looks by TLS [RFC 8737, 3].
fn challenge_certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    let key = KeyPair::generate().map_err(words)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(words)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(words)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).map_err(words)?;
    // Not compared with its key: an extension that must be understood is for authorities only.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Returns the name by which an authority asks for an identifier by TLS: addresses as names of the reverse lookup [RFC 8738, 6].
fn asked_name(identifier: &str) -> String {
    match identifier.parse() {
        Ok(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(address)) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
        Err(_) => identifier.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_names_of_the_reverse_lookup() {
        assert_eq!(asked_name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            asked_name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
        assert_eq!(asked_name("Chat.Example.org"), "chat.example.org");
    }

    #[test]
    fn a_certificate_of_ninety_days_is_renewed_after_sixty() {
        let day = 86_400;
        assert_eq!(third(&(1_000 * day), &(1_090 * day)), UNIX_EPOCH + Duration::from_secs(1_060 * day));
    }
}

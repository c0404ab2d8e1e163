//! Certificates that an authority makes, with an authority that looks whether the server has its names.

mod common;

use std::time::Duration;

use causerie_server::{AcmeChallenge, AcmeSettings, CertificateSource, Settings, TlsSettings};
use common::authority::Authority;
use common::tunnel::Tunnel;
use common::{Harness, Native, PATIENCE, raw, within};

const NAMES: [&str; 2] = ["chat.example.org", "irc.example.org"];

fn acme(folder: &std::path::Path, challenge: AcmeChallenge) -> TlsSettings {
    let source = CertificateSource::Acme(AcmeSettings {
        directory: "https://localhost:1/directory".into(),
        contact: Some("ann@example.org".into()),
        challenge,
        profile: None,
        roots: None,
        folder: folder.join("tls"),
    });
    TlsSettings { source, names: NAMES.map(str::to_owned).to_vec() }
}

/// Tells the server where the authority is.
fn tell(server: &Harness, authority: &Authority) {
    server.settings.send_modify(|settings| {
        let Some(TlsSettings { source: CertificateSource::Acme(acme), .. }) = &mut settings.tls else {
            panic!()
        };
        (acme.directory, acme.roots) = (authority.directory.clone(), Some(authority.root.clone()));
    });
}

/// The names of the certificate that is shown now.
async fn shown(server: &Harness) -> Vec<String> {
    let tunnel = Tunnel::to(server.address);
    tunnel.connect().await.unwrap();
    let shown = tunnel.shown.lock().unwrap().take().unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&shown).unwrap();
    let issuer = certificate.issuer() == certificate.subject();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = names.value.general_names.iter().map(|name| name.to_string());
    names.chain(issuer.then(|| "signed by itself".into())).collect()
}

// One thread, whose log is captured.
#[tokio::test]
async fn an_authority_looks_by_tls_and_by_http_and_renews() {
    let (log, _guard) = common::capture_log();
    for challenge in [AcmeChallenge::TlsAlpn, AcmeChallenge::Http] {
        let folder = tempfile::tempdir().unwrap();
        let tls = acme(folder.path(), challenge);
        let server = Harness::start(Settings { tls: Some(tls.clone()), ..Settings::default() }).await;
        assert!(shown(&server).await.contains(&"signed by itself".to_owned()), "until there is another one");
        let mut ann = Native::join(Tunnel::to(server.address).open().await, "lobby", "ann").await;
        let authority = Authority::start(folder.path(), server.address).await;
        tell(&server, &authority);
        let made = |count: usize| {
            let (state, log) = (authority.state.clone(), log.clone());
            async move {
                let waiting = async {
                    while state.lock().unwrap().made < count {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                let waited = tokio::time::timeout(PATIENCE, waiting).await;
                waited.unwrap_or_else(|_| panic!("no certificate: {:#?}", log.lock().unwrap()));
            }
        };
        made(1).await;
        within("it to be shown", async {
            while shown(&server).await.len() != 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        ann.say("still here").await;
        assert!(raw(server.address, b"GET /.well-known/acme-challenge/token-chat.example.org HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 421"), "nothing is answered once it has looked");

        // The authority wants it renewed now: the next look finds that.
        authority.state.lock().unwrap().renew_now = true;
        server.settings.send_modify(|_| {});
        made(2).await;
        {
            let state = authority.state.lock().unwrap();
            assert_eq!(
                (state.accounts, state.replaced.len()),
                (1, 1),
                "one account, and it says what is replaced"
            );
        }
        // Another name needs another certificate, though this one is young.
        authority.state.lock().unwrap().renew_now = false;
        server.settings.send_modify(|settings| {
            settings.tls.as_mut().unwrap().names.push("third.example.org".into());
        });
        made(3).await;
        within("it to be shown", async {
            while shown(&server).await.len() != 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        drop(ann);
        server.stop().await;

        // What was made is there at the next start, without the authority.
        let kept = tls.certificate().unwrap().unwrap();
        assert_eq!(kept.names, [NAMES[0], NAMES[1], "third.example.org"]);
        let server = Harness::start(Settings { tls: Some(tls), ..Settings::default() }).await;
        assert_eq!(shown(&server).await.len(), 3);
        server.stop().await;
        #[cfg(unix)]
        for file in ["acme.pem", "acme-account.json"] {
            use std::os::unix::fs::PermissionsExt;
            let file = std::fs::metadata(folder.path().join("tls").join(file)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600);
        }
    }
}

// One thread, whose log is captured.
#[tokio::test]
async fn an_authority_that_refuses_or_is_away_is_told_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _guard) = common::capture_log();
    let server = Harness::start(Settings {
        tls: Some(acme(folder.path(), AcmeChallenge::TlsAlpn)),
        ..Settings::default()
    })
    .await;
    let told = |words: &'static str| {
        let log = log.clone();
        within(words, async move {
            while !log.lock().unwrap().iter().any(|line| line.contains(words)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    told("no certificate from the authority").await;
    let authority = Authority::start(folder.path(), server.address).await;
    authority.state.lock().unwrap().is_blind = true;
    tell(&server, &authority);
    told("the authority did not find chat.example.org here").await;
    told("it answered something else").await;
    assert!(shown(&server).await.contains(&"signed by itself".to_owned()));
    server.stop().await;
}

// One thread, whose log is captured.
#[tokio::test]
async fn a_certificate_that_cannot_be_kept_is_shown_and_not_ordered_again() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _guard) = common::capture_log();
    // Where the file would be written there is something else, as if the disk were full.
    let in_the_way = folder.path().join("tls/acme.part");
    std::fs::create_dir_all(&in_the_way).unwrap();
    let tls = acme(folder.path(), AcmeChallenge::TlsAlpn);
    let server = Harness::start(Settings { tls: Some(tls.clone()), ..Settings::default() }).await;
    let authority = Authority::start(folder.path(), server.address).await;
    tell(&server, &authority);
    let is_shown = async {
        while shown(&server).await.len() != 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, is_shown).await;
    waited.unwrap_or_else(|_| panic!("{:#?}", log.lock().unwrap()));
    assert!(log.lock().unwrap().iter().any(|line| line.contains("cannot be kept yet")));
    // Once it can be written it is, and the authority has made one.
    std::fs::remove_dir(&in_the_way).unwrap();
    server.settings.send_modify(|_| {});
    within("it to be kept", async {
        while tls.certificate().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(authority.state.lock().unwrap().made, 1);
    assert_eq!(shown(&server).await.len(), 2, "and it is still the one that is shown");
    server.stop().await;
}

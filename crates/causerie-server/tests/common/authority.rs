//! An authority that makes certificates [RFC 8555], small and strict: each request carries a nonce of its own, and a certificate
//! is made once the server has shown that it has its names, by `tls-alpn-01` or `http-01`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::raw;
use super::tunnel::Tunnel;

/// The extension of a certificate that answers by TLS, `acmeIdentifier`.
const ACME_IDENTIFIER: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 31];

pub(crate) struct Authority {
    pub(crate) directory: String,
    /// The file with its root.
    pub(crate) root: PathBuf,
    pub(crate) state: Arc<Mutex<AuthorityState>>,
}

/// What it knows, and what tests turn.
pub(crate) struct AuthorityState {
    root: String,
    address: String,
    /// The server whose names it looks at.
    pub(crate) server: SocketAddr,
    nonces: BTreeSet<String>,
    next: u64,
    thumbprint: String,
    names: Vec<String>,
    looked: Option<bool>,
    certificate: Option<String>,
    /// Accounts, and certificates made.
    pub(crate) accounts: usize,
    pub(crate) made: usize,
    /// Certificates that were named as replaced.
    pub(crate) replaced: Vec<String>,
    /// What it says of renewal: now, or in a month.
    pub(crate) renew_now: bool,
    /// It does not find the names.
    pub(crate) is_blind: bool,
}

impl Authority {
    pub(crate) async fn start(folder: &Path, server: SocketAddr) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let issuer = Arc::new(Issuer::new(params, key));
        let own_key = KeyPair::generate().unwrap();
        let own =
            CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&own_key, &issuer).unwrap();
        let path = folder.join("root.pem");
        std::fs::write(&path, root.pem()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(own_key.serialize_der().into());
        let acceptor =
            TlsAcceptor::from(Arc::new(config.with_single_cert(vec![own.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(AuthorityState {
            root: root.pem(),
            address: address.clone(),
            server,
            nonces: BTreeSet::new(),
            next: 0,
            thumbprint: String::new(),
            names: Vec::new(),
            looked: None,
            certificate: None,
            accounts: 0,
            made: 0,
            replaced: Vec::new(),
            renew_now: false,
            is_blind: false,
        }));
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state, issuer) = (acceptor.clone(), Arc::clone(&served), Arc::clone(&issuer));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        let (state, issuer) = (Arc::clone(&state), Arc::clone(&issuer));
                        async move {
                            Ok::<_, std::convert::Infallible>(
                                answer(&state, &issuer, request.map(Body::new)).await,
                            )
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    http.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
        Self { directory: format!("{address}/directory"), root: path, state }
    }
}

fn decoded(text: &Value) -> Vec<u8> {
    BASE64.decode(text.as_str().unwrap()).unwrap()
}

async fn answer(
    state: &Mutex<AuthorityState>,
    issuer: &Issuer<'static, KeyPair>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    let mut protected = Value::Null;
    let mut payload = Value::Null;
    if parts.method == Method::POST {
        let jws: Value = serde_json::from_slice(&body).unwrap();
        protected = serde_json::from_slice(&decoded(&jws["protected"])).unwrap();
        payload = serde_json::from_slice(&decoded(&jws["payload"])).unwrap_or(Value::Null);
        let nonce = protected["nonce"].as_str().unwrap();
        if !state.lock().unwrap().nonces.remove(nonce) {
            return reply(
                state,
                400,
                "",
                &json!({"type": "urn:ietf:params:acme:error:badNonce", "detail": nonce}),
            );
        }
    }
    if let Some(challenge) = path.strip_prefix("/challenge/") {
        let (kind, name) = challenge.split_once('/').unwrap();
        let found = look(state, kind, name).await;
        let mut state = state.lock().unwrap();
        state.looked = Some(state.looked.unwrap_or(true) && found && !state.is_blind);
    }
    let (address, names, looked) = {
        let state = state.lock().unwrap();
        (state.address.clone(), state.names.clone(), state.looked)
    };
    let status = |pending: &'static str, done: &'static str| match looked {
        None => pending,
        Some(true) => done,
        Some(false) => "invalid",
    };
    let order = |certificate: bool| {
        let identifiers: Vec<_> = names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let authorizations: Vec<_> =
            names.iter().map(|name| format!("{address}/authorization/{name}")).collect();
        let mut order = json!({
            "status": if certificate { "valid" } else { status("pending", "ready") },
            "identifiers": identifiers,
            "authorizations": authorizations,
            "finalize": format!("{address}/finalize"),
        });
        if certificate {
            order["certificate"] = json!(format!("{address}/certificate"));
        }
        order
    };
    match path.split('/').nth(1).unwrap_or_default() {
        "directory" => reply(
            state,
            200,
            "",
            &json!({
                "newNonce": format!("{address}/nonce"),
                "newAccount": format!("{address}/account"),
                "newOrder": format!("{address}/new-order"),
                "revokeCert": format!("{address}/revoke"),
                "keyChange": format!("{address}/key"),
                "renewalInfo": format!("{address}/renewal"),
            }),
        ),
        "nonce" => reply(state, 200, "", &Value::Null),
        "account" => {
            let jwk = &protected["jwk"];
            let canonical =
                format!(r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#, jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]);
            {
                let mut state = state.lock().unwrap();
                state.thumbprint = BASE64.encode(Sha256::digest(canonical));
                state.accounts += 1;
            }
            reply(state, 201, &format!("{address}/account/1"), &json!({"status": "valid"}))
        }
        "new-order" => {
            let wanted = payload["identifiers"].as_array().unwrap();
            let wanted = wanted.iter().map(|id| id["value"].as_str().unwrap().to_owned()).collect();
            {
                let mut state = state.lock().unwrap();
                (state.names, state.looked, state.certificate) = (wanted, None, None);
                let replaced = payload["replaces"].as_str().map(str::to_owned);
                state.replaced.extend(replaced);
            }
            let state_names = state.lock().unwrap().names.clone();
            let authorizations: Vec<_> =
                state_names.iter().map(|name| format!("{address}/authorization/{name}")).collect();
            let identifiers: Vec<_> =
                state_names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
            let order = json!({"status": "pending", "identifiers": identifiers, "authorizations": authorizations,
                "finalize": format!("{address}/finalize")});
            reply(state, 201, &format!("{address}/order/1"), &order)
        }
        "authorization" => {
            let name = path.rsplit('/').next().unwrap();
            let challenge = |kind: &str, way: &str| {
                let mut challenge = json!({"type": kind, "url": format!("{address}/challenge/{way}/{name}"),
                    "token": format!("token-{name}"), "status": status("pending", "valid")});
                if looked == Some(false) {
                    challenge["error"] = json!({"type": "urn:ietf:params:acme:error:unauthorized",
                        "detail": "it answered something else"});
                }
                challenge
            };
            let authorization = json!({"status": status("pending", "valid"),
                "identifier": {"type": "dns", "value": name},
                "challenges": [challenge("tls-alpn-01", "tls"), challenge("http-01", "http")]});
            reply(state, 200, "", &authorization)
        }
        "challenge" => {
            let url = format!("{address}{path}");
            reply(state, 200, "", &json!({"type": "x", "url": url, "token": "t", "status": "processing"}))
        }
        "order" => {
            let certificate = state.lock().unwrap().certificate.is_some();
            reply(state, 200, "", &order(certificate))
        }
        "finalize" => {
            assert_eq!(looked, Some(true), "nothing is made for who has not shown its names");
            let mut request =
                CertificateSigningRequestParams::from_der(&decoded(&payload["csr"]).into()).unwrap();
            request.params.use_authority_key_identifier_extension = true;
            let certificate = request.signed_by(issuer).unwrap();
            {
                let mut state = state.lock().unwrap();
                state.certificate = Some(certificate.pem() + &state.root);
                state.made += 1;
            }
            reply(state, 200, "", &order(true))
        }
        "certificate" => {
            let chain = state.lock().unwrap().certificate.clone().unwrap();
            let mut response = reply(state, 200, "", &Value::Null);
            *response.body_mut() = Body::from(chain);
            response
        }
        "renewal" => {
            let month = if state.lock().unwrap().renew_now { 0 } else { 30 * 86_400 };
            let time = |seconds: u64| {
                // Now is an hour ago at the latest.
                let time = SystemTime::now() - Duration::from_secs(3_600) + Duration::from_secs(seconds);
                let time = x509_parser::time::ASN1Time::from_timestamp(
                    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap(),
                );
                let time = time.unwrap().to_datetime();
                format!(
                    "{}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                    time.year(),
                    u8::from(time.month()),
                    time.day(),
                    time.hour(),
                    time.minute(),
                    time.second()
                )
            };
            let window = json!({"suggestedWindow": {"start": time(month), "end": time(month + 1)}});
            reply(state, 200, "", &window)
        }
        _ => reply(state, 404, "", &json!({"type": "about:blank", "detail": path})),
    }
}

fn reply(state: &Mutex<AuthorityState>, status: u16, location: &str, body: &Value) -> Response<Body> {
    let nonce = {
        let mut state = state.lock().unwrap();
        state.next += 1;
        let nonce = format!("nonce{}", state.next);
        state.nonces.insert(nonce.clone());
        nonce
    };
    let mut response = Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("replay-nonce", nonce)
        .header("retry-after", "3600")
        .header("content-type", "application/json");
    if !location.is_empty() {
        response = response.header("location", location);
    }
    // A retry is for renewal only; who waits for an order asks again at once.
    if let Some(headers) = response.headers_mut()
        && body.get("suggestedWindow").is_none()
    {
        headers.remove("retry-after");
    }
    response.body(Body::from(body.to_string())).unwrap()
}

/// Looks whether the server has a name.
async fn look(state: &Mutex<AuthorityState>, kind: &str, name: &str) -> bool {
    let (server, proof) = {
        let state = state.lock().unwrap();
        (state.server, format!("token-{name}.{}", state.thumbprint))
    };
    if kind == "http" {
        let request = format!(
            "GET /.well-known/acme-challenge/token-{name} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        );
        return raw(server, request.as_bytes()).await.ends_with(&format!("\r\n\r\n{proof}"));
    }
    let tunnel = Tunnel::with(server, &["acme-tls/1"], None);
    if tunnel.connect_as(name).await.is_err() {
        return false;
    }
    let shown = tunnel.shown.lock().unwrap().take().unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&shown).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let oid = x509_parser::oid_registry::Oid::from(&ACME_IDENTIFIER).unwrap();
    let extension = certificate.get_extension_unique(&oid).unwrap().unwrap();
    let digest = [&[4, 32][..], &Sha256::digest(proof)].concat();
    extension.critical && extension.value == digest && names.value.general_names.len() == 1
}

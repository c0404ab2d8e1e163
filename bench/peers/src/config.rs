//! Configurations of others' servers: on the loopback, without files of their own, and without limits on what
//! a client sends or leaves unread, where there is a setting for that.

use std::io;
use std::path::{Path, PathBuf};

/// Writes a configuration into the server's directory.
pub(crate) fn write(scratch: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let path = scratch.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Certificate that a server signs itself, and its key, as files.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one in the server's directory.
    pub(crate) fn write(scratch: &Path) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        Ok(Self {
            certificate: write(scratch, "certificate.pem", &made.cert.pem())?,
            key: write(scratch, "key.pem", &made.signing_key.serialize_pem())?,
        })
    }

    /// Settings that name the certificate and the key, each behind its word.
    fn settings(tls: Option<&Self>, certificate: &str, key: &str, end: &str) -> String {
        tls.map_or_else(String::new, |tls| {
            format!("{certificate}{}{end}{key}{}{end}", tls.certificate.display(), tls.key.display())
        })
    }
}

/// nats-server with WebSockets. Its own port is there too, and may be any.
pub(crate) fn nats_websocket(port: &str, tls: Option<&Certificate>) -> String {
    let tls = match tls {
        Some(_) => {
            format!("tls {{ {} }}", Certificate::settings(tls, "cert_file: \"", "key_file: \"", "\", "))
        }
        None => "no_tls: true".to_owned(),
    };
    format!("host: \"127.0.0.1\"\nport: -1\nwebsocket {{ host: \"127.0.0.1\", port: {port}, {tls} }}\n")
}

/// nginx as one process, so that what it uses can be told. Paths are those of the server's directory.
pub(crate) fn nchan(port: &str, module: &Path, tls: Option<&Certificate>) -> String {
    let ssl = if tls.is_some() { " ssl" } else { "" };
    let certificate = Certificate::settings(tls, "ssl_certificate ", "ssl_certificate_key ", "; ");
    format!(
        r"load_module {module};
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    server {{
        listen 127.0.0.1:{port}{ssl};
        {certificate}
        location ~ ^/(.+)$ {{
            nchan_pubsub websocket;
            nchan_channel_id $1;
        }}
    }}
}}
",
        module = module.display(),
    )
}

/// mosquitto with WebSockets. Its library binds to an address of the loopback only where addresses are those
/// of IPv4, and mosquitto 2.0.11 ends if WebSockets are all that it listens for: hence a socket on which
/// nobody speaks.
pub(crate) fn mosquitto(port: &str, tls: Option<&Certificate>) -> String {
    let certificate = Certificate::settings(tls, "certfile ", "keyfile ", "\n");
    format!(
        "listener {port} 127.0.0.1
protocol websockets
socket_domain ipv4
{certificate}listener 0 mosquitto.sock
allow_anonymous true
persistence false
max_queued_messages 0
set_tcp_nodelay true
log_dest none
user root
"
    )
}

/// InspIRCd 3. A client is held up once its lines of a second exceed `threshold`; without fake lag it would
/// be cut off. The two modules are those that the load negotiates with.
pub(crate) fn inspircd(port: &str, tls: Option<&Certificate>) -> String {
    let (profile, used) = match tls {
        Some(_) => (
            format!(
                "<module name=\"ssl_gnutls\">\n<sslprofile name=\"load\" provider=\"gnutls\" {}>\n",
                Certificate::settings(tls, "certfile=\"", "keyfile=\"", "\" ")
            ),
            " ssl=\"load\"",
        ),
        None => (String::new(), ""),
    };
    format!(
        r#"<server name="irc.local" description="load" network="load" id="001">
<admin name="load" nick="load" email="load@irc.local">
<bind address="127.0.0.1" port="{port}" type="clients"{used}>
<connect name="load" allow="*" timeout="60" pingfreq="3600" limit="100000" localmax="100000"
    globalmax="100000" maxconnwarn="no" fakelag="yes" threshold="1000000" commandrate="1000000000"
    recvq="1073741824" softsendq="1073741824" hardsendq="1073741824" resolvehostnames="no" useident="no">
<performance softlimit="100000" somaxconn="1024">
<limits maxnick="64" maxchan="64">
<module name="cap">
<module name="ircv3_echomessage">
{profile}"#
    )
}

/// ngIRCd 26: `MaxPenaltyTime` is 0 where nobody is held up. What a client may leave unread is fixed.
pub(crate) fn ngircd(port: &str, tls: Option<&Certificate>) -> String {
    let files = Certificate::settings(tls, "CertFile = ", "KeyFile = ", "\n");
    let (ports, tls) = match tls {
        Some(_) => (String::new(), format!("[SSL]\nPorts = {port}\n{files}")),
        None => (format!("Ports = {port}\n"), String::new()),
    };
    format!(
        "[Global]
Name = irc.local
Info = load
Listen = 127.0.0.1
{ports}MotdPhrase = load
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 31
MaxPenaltyTime = 0
PingTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
{tls}"
    )
}

//! Words for whoever has just started a server: where it is, and who can come in.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use causerie_client::Fingerprint;
use causerie_server::{CertificateInfo, CertificateSource, ClearText, TlsSettings};

use crate::address::DEFAULT_PORT;

/// Ways in which others may come in.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) tls: Option<TlsSettings>,
    /// The certificate, if it is kept.
    pub(crate) certificate: Option<CertificateInfo>,
    pub(crate) clear_text: ClearText,
    /// Classic clients are served.
    pub(crate) classic: bool,
}

impl Access {
    /// Returns the address of the page for who comes from this machine, or from another one.
    fn url(&self, is_here: bool, host: &str) -> String {
        let is_clear = match self.clear_text {
            ClearText::Any => true,
            ClearText::Loopback => is_here,
            ClearText::Never => false,
        };
        format!("{}://{host}/", if is_clear { "http" } else { "https" })
    }
}

/// Prints what to do next. `others` are the listeners for one protocol each.
pub(crate) fn print(address: SocketAddr, others: &[SocketAddr], access: &Access) -> io::Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "causerie".into());
    let mut out = io::stdout().lock();
    out.write_all(words(&program, address, others, own_address(address.ip()), access).as_bytes())?;
    out.flush()
}

/// `own`: an address of this machine at which others find it.
fn words(
    program: &str,
    address: SocketAddr,
    others: &[SocketAddr],
    own: Option<IpAddr>,
    access: &Access,
) -> String {
    let port = address.port();
    // What it listens on need not be what can be connected to.
    let here = match address.ip().is_unspecified() {
        true => format!("localhost:{port}"),
        false => address.to_string(),
    };
    let at = match port == DEFAULT_PORT && (address.ip().is_loopback() || address.ip().is_unspecified()) {
        true => String::new(),
        false => format!(" {here}"),
    };
    let at = if access.clear_text == ClearText::Never { format!("{at} --tls") } else { at };
    let mut out = format!("causerie {} is listening on {address}.\n\n", env!("CARGO_PKG_VERSION"));
    let mut line =
        |what: &str, words: &str| writeln!(out, "  {what:<30} {words}").expect("a string takes all");
    let is_here = address.ip().is_loopback() || address.ip().is_unspecified();
    let url = access.url(is_here, &here);
    line("To chat, in a browser:", &url);
    let name = access.tls.as_ref().and_then(|tls| tls.names.first());
    let elsewhere =
        own.filter(|_| address.ip().is_unspecified()).map(|own| SocketAddr::new(own, port).to_string());
    let elsewhere =
        name.map(|name| if port == 443 { name.clone() } else { format!("{name}:{port}") }).or(elsewhere);
    if let Some(elsewhere) = elsewhere {
        line("From another machine:", &access.url(false, &elsewhere));
    }
    line("To chat, in another terminal:", &format!("{program} chat{at} --room lobby --name YOUR-NAME"));
    line("To see causal order at work:", "add  --link delay=0..800ms,loss=5%,seed=7");
    line("For bots:", &format!("{url}api/rooms, as docs/api.md describes"));
    if access.classic {
        line("The original client:", &format!("connects to port {port} and says ./createRoom"));
    }
    line("To stop:", "Ctrl-C");
    out.push('\n');
    let open: Vec<_> =
        [address].iter().chain(others).filter(|a| !a.ip().is_loopback()).map(ToString::to_string).collect();
    if let Some(tls) = &access.tls {
        let whose = match (&tls.source, &access.certificate) {
            (CertificateSource::SelfSigned { .. }, Some(_)) => "signed by itself, and kept",
            (CertificateSource::SelfSigned { .. }, None) => "signed by itself, and another at each start",
            (CertificateSource::Acme(_), None) => "signed by itself, until the authority has made one",
            (_, Some(certificate)) if certificate.is_trusted => "one that browsers trust",
            (CertificateSource::Acme(_), Some(_)) => "made by the authority",
            (CertificateSource::Files { .. }, _) => "from files",
        };
        out += &format!("  Connections are encrypted by TLS; the certificate is {whose}.\n");
        if let Some(certificate) = access.certificate.as_ref().filter(|certificate| !certificate.is_trusted) {
            let key = Fingerprint::new(certificate.key_sha256);
            out += &format!("  Its public key, to compare where a client asks:\n    {key}\n");
        }
        out.push('\n');
    }
    if !open.is_empty() {
        let open = open.join(" and ");
        let encrypted = match (&access.tls, access.clear_text) {
            (None, _) => "Nothing is encrypted, and everybody",
            (Some(_), ClearText::Any) => "Clear text is taken, too, and everybody",
            (Some(_), _) => "Everybody",
        };
        out += &format!(
            "  {encrypted} who reaches {open} may come in, read and speak.\n  \
             --listen 127.0.0.1:{port} is for this machine only.\n\n"
        );
    }
    out
}

/// Returns the address from which this machine would send to others, as the system chooses it. Nothing is sent.
fn own_address(listening: IpAddr) -> Option<IpAddr> {
    let by = |any: IpAddr, elsewhere: IpAddr| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((elsewhere, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    };
    // Addresses for documentation: there is a way to them where there is one to the rest of the world.
    let v4 = || by(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into());
    let v6 = || by(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into());
    // Who listens on all of IPv6 listens on all of IPv4, too.
    v4().or_else(|| if listening.is_ipv6() { v6() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: &str, others: &[&str], own: Option<&str>) -> String {
        let access = Access { tls: None, certificate: None, clear_text: ClearText::Any, classic: true };
        told_with(address, others, own, &access)
    }

    fn told_with(address: &str, others: &[&str], own: Option<&str>, access: &Access) -> String {
        let others: Vec<_> = others.iter().map(|other| other.parse().unwrap()).collect();
        words("causerie", address.parse().unwrap(), &others, own.map(|own| own.parse().unwrap()), access)
    }

    #[test]
    fn who_is_to_compare_a_key_is_told_it() {
        let source = CertificateSource::SelfSigned { folder: None };
        let certificate = CertificateInfo {
            key_sha256: [0xca; 32],
            certificate_sha256: [0; 32],
            names: Vec::new(),
            starts: 0,
            ends: 0,
            is_trusted: false,
        };
        let tls = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Some(TlsSettings { source: source.clone(), names })
        };
        let clear_text = ClearText::Loopback;
        let kept =
            Access { tls: tls(&[]), certificate: Some(certificate.clone()), clear_text, classic: false };
        let told = told_with("0.0.0.0:7", &[], Some("192.168.1.5"), &kept);
        assert!(told.contains("SHA-256 ca:ca:ca"), "{told}");
        assert!(
            told.contains(" http://localhost:7/\n") && told.contains(" https://192.168.1.5:7/\n"),
            "{told}"
        );
        assert!(told.contains("Everybody who reaches 0.0.0.0:7") && !told.contains("Nothing"), "{told}");
        let never = Access {
            clear_text: ClearText::Never,
            tls: tls(&["chat.example.org"]),
            certificate: None,
            classic: true,
        };
        let told = told_with("0.0.0.0:443", &[], None, &never);
        assert!(
            told.contains(" https://localhost:443/\n") && told.contains(" https://chat.example.org/\n"),
            "{told}"
        );
        assert!(told.contains("another at each start") && !told.contains("SHA-256"), "{told}");
        let trusted = CertificateInfo { is_trusted: true, ..certificate };
        let trusted = Access { certificate: Some(trusted), clear_text, tls: tls(&[]), classic: false };
        let told = told_with("192.0.2.1:7", &[], None, &trusted);
        assert!(!told.contains("SHA-256") && told.contains(" https://192.0.2.1:7/\n"), "{told}");
    }

    #[test]
    fn beyond_this_machine_it_is_said_who_may_come_in_and_where() {
        for (address, own, from_elsewhere) in [
            ("0.0.0.0:12343", Some("192.168.1.5"), Some("http://192.168.1.5:12343/")),
            ("[::]:7", Some("2001:db8::5"), Some("http://[2001:db8::5]:7/")),
            ("0.0.0.0:7", None, None),
        ] {
            let told = told(address, &[], own);
            let port = address.rsplit(':').next().unwrap();
            assert!(told.contains(&format!(" http://localhost:{port}/\n")), "{told}");
            assert!(told.contains(&format!("everybody who reaches {address} may come in")), "{told}");
            assert_eq!(
                told.matches(address).count(),
                2,
                "what cannot be connected to is told as nothing else: {told}"
            );
            match from_elsewhere {
                Some(url) => assert!(told.contains(url), "{told}"),
                None => assert!(!told.contains("another machine"), "{told}"),
            }
        }
        let at_one = told("192.168.1.5:12343", &[], Some("192.168.1.5"));
        assert!(
            at_one.contains(" chat 192.168.1.5:12343 ") && at_one.contains("Nothing is encrypted"),
            "{at_one}"
        );
        let beside = told("127.0.0.1:12343", &["127.0.0.1:1", "0.0.0.0:6667"], None);
        assert!(beside.contains("everybody who reaches 0.0.0.0:6667 may"), "{beside}");
    }

    #[test]
    fn on_this_machine_nothing_is_said_of_others() {
        for address in ["127.0.0.1:12343", "[::1]:12343"] {
            let told = told(address, &[], Some("192.168.1.5"));
            assert!(told.contains(&format!("http://{address}/")), "{told}");
            assert!(!told.contains("encrypted") && !told.contains("192.168"), "{told}");
            assert!(told.contains(" causerie chat --room lobby "), "{told}");
        }
    }
}

//! Words for whoever has just started a server: where it is, and who can come in.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::address::DEFAULT_PORT;

/// Prints what to do next. `others` are the listeners for one protocol each.
pub(crate) fn print(address: SocketAddr, others: &[SocketAddr]) -> io::Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "causerie".into());
    let mut out = io::stdout().lock();
    out.write_all(words(&program, address, others, own_address(address.ip())).as_bytes())?;
    out.flush()
}

/// `own`: an address of this machine at which others find it.
fn words(program: &str, address: SocketAddr, others: &[SocketAddr], own: Option<IpAddr>) -> String {
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
    let mut out = format!("causerie {} is listening on {address}.\n\n", env!("CARGO_PKG_VERSION"));
    let mut line =
        |what: &str, words: &str| writeln!(out, "  {what:<30} {words}").expect("a string takes all");
    line("To chat, in a browser:", &format!("http://{here}/"));
    if let Some(own) = own.filter(|_| address.ip().is_unspecified()) {
        line("From another machine:", &format!("http://{}/", SocketAddr::new(own, port)));
    }
    line("To chat, in another terminal:", &format!("{program} chat{at} --room lobby --name YOUR-NAME"));
    line("To see causal order at work:", "add  --link delay=0..800ms,loss=5%,seed=7");
    line("For bots:", &format!("http://{here}/api/rooms, as docs/api.md describes"));
    line("The original client:", &format!("connects to port {port} and says ./createRoom"));
    line("To stop:", "Ctrl-C");
    out.push('\n');
    let open: Vec<_> =
        [address].iter().chain(others).filter(|a| !a.ip().is_loopback()).map(ToString::to_string).collect();
    if !open.is_empty() {
        let open = open.join(" and ");
        out += &format!(
            "  Nothing is encrypted, and everybody who reaches {open} may come in, read and speak.\n  \
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
        let others: Vec<_> = others.iter().map(|other| other.parse().unwrap()).collect();
        words("causerie", address.parse().unwrap(), &others, own.map(|own| own.parse().unwrap()))
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

//! `causerie bench`: short runs against real servers. That its judge notices what is wrong is tested where it is,
//! in `causerie-bench`.

mod common;

use common::{Certificate, Front, Server, causerie, soon};

/// Exit code, standard output, standard error.
async fn bench(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = causerie();
    let output = command.arg("bench").args(args).output();
    let output = soon("the load ends", output).await.expect("the binary was built");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A number of the JSON object, by name.
fn number(json: &str, name: &str) -> f64 {
    let rest = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {json}")).1;
    let end = rest.find([',', '}']).expect("an object ends");
    rest[..end].parse().unwrap_or_else(|_| panic!("{name} is no number in {json}"))
}

const BRIEF: [&str; 4] = ["--warm-up", "0.2", "--seconds", "1"];

#[tokio::test]
async fn nothing_is_lost_on_a_server_of_its_own_and_counts_add_up() {
    let args = ["--spawn", "--rooms", "3", "--receivers", "5", "--senders", "2", "--window", "20", "--json"];
    let (code, out, err) = bench(&[&args[..], &BRIEF].concat()).await;
    assert_eq!((code, &err[..]), (Some(0), ""), "{out}");
    for wrong in ["lost", "duplicated", "out_of_order", "before_cause", "damaged", "held_up"] {
        assert_eq!(number(&out, wrong), 0.0, "{wrong}: {out}");
    }
    let (received, answers) = (number(&out, "received"), number(&out, "answers"));
    assert!(answers > 0.0 && answers < received, "{out}");
    assert_eq!(received % 5.0, 0.0, "each message went to all five of its room: {out}");
    let (messages, deliveries) = (number(&out, "messages_per_second"), number(&out, "deliveries_per_second"));
    // What is sent within the second and what is received within it differ by what is outstanding at its ends.
    assert!(messages > 0.0 && (deliveries - 5.0 * messages).abs() <= 5.0 * 3.0 * 20.0, "{out}");
    assert!(deliveries <= received, "{out}");
    if cfg!(target_os = "linux") {
        assert!(number(&out, "server_memory_peak") > f64::from(1 << 20), "{out}");
    }
}

#[tokio::test]
async fn every_kind_of_member_and_a_given_rate_on_a_running_server() {
    let server = Server::start(&["--irc-rate", "0", "--operator-token", "sesame"]).await;
    let (address, pid) = (server.address(), server.process.pid.to_string());
    for protocol in ["native", "classic", "websocket", "irc"] {
        let args = ["--server", &address, "--protocol", protocol, "--receivers", "6", "--senders", "3"];
        let (code, out, err) = bench(&[&args[..], &BRIEF, &["--rate", "100", "--progress"]].concat()).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.starts_with(&format!("{protocol}: 1 room of 6 members, 3 of whom talk")), "{out}");
        assert!(out.contains("  lost        0\n") && out.contains("  out of causal order  0\n"), "{out}");
        assert!(err.contains("deliveries so far"), "{err}");
    }
    if cfg!(target_os = "linux") {
        let args = ["--server", &address, "--server-pid", &pid];
        let (code, out, err) = bench(&[&args[..], &BRIEF].concat()).await;
        assert_eq!((code, &err[..]), (Some(0), ""));
        assert!(out.contains("  server      "), "{out}");
    }
    for which in [&["list"][..], &["closed", "--operator-token", "sesame"]] {
        let rooms = causerie().args(["rooms", "--server", &address]).args(which).output().await;
        let rooms = rooms.expect("the binary was built");
        let told = String::from_utf8_lossy(&rooms.stdout);
        assert_eq!((&told[..], rooms.status.success()), ("", true), "nothing of the load is left: {which:?}");
    }
}

#[tokio::test]
async fn every_kind_of_member_speaks_tls_with_whatever_certificate() {
    let server = Server::start(&["--irc-rate", "0"]).await;
    let front = Front::start(server.address(), &Certificate::own("somebody.example.org")).await;
    let address = front.address();
    for (protocol, members) in [("native", 7), ("classic", 7), ("websocket", 7), ("irc", 7)] {
        let (before, heard) = (front.shaken(), front.heard());
        let args =
            ["--server", &address, "--tls", "--protocol", protocol, "--receivers", "6", "--senders", "3"];
        let (code, out, err) = bench(&[&args[..], &BRIEF, &["--payload", "300"]].concat()).await;
        assert_eq!((code, &err[..]), (Some(0), ""), "{out}");
        assert!(out.contains("  lost        0\n") && out.contains("  out of causal order  0\n"), "{out}");
        // Those who talk and listen, and two conversations about the rooms.
        assert_eq!(front.shaken() - before, members + 1, "{protocol}");
        assert!(front.heard() - heard > 10_000, "{protocol}");
    }
    // Texts that are larger than what TLS takes at once, and somebody who reads them late.
    let args = ["--server", &address, "--tls", "--receivers", "5", "--senders", "2", "--stopped", "1"];
    let (code, out, err) = bench(&[&args[..], &BRIEF, &["--payload", "16000"]].concat()).await;
    assert_eq!((code, &err[..]), (Some(0), ""), "{out}");
    assert!(out.contains("  lost        0\n"), "{out}");
    let (code, out, err) = bench(&[&["--spawn", "--tls"][..], &BRIEF].concat()).await;
    assert_eq!((code, &err[..]), (Some(0), ""), "{out}");
    let (code, _, err) = bench(&[&["--server", &server.address(), "--tls"][..], &BRIEF].concat()).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("cannot connect to"), "{err}");
}

/// Memory that the server may ever have: what is staged in the store (64 MiB), the room's tail (16 MiB), the store's
/// caches (24 MiB), itself, and as much again of what is on its way.
#[cfg(target_os = "linux")]
const MEMORY_MAX: f64 = 192.0 * 1024.0 * 1024.0;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_reads_nothing_meanwhile_costs_no_memory_and_gets_everything_afterwards() {
    let load =
        ["--spawn", "--receivers", "12", "--senders", "10", "--stopped", "1", "--payload", "8000", "--json"];
    // Until more was said than the server could hide, however long that takes here.
    let mut seconds = 2.0;
    loop {
        let (code, out, err) = bench(&[&load[..], &["--seconds", &format!("{seconds:.0}")]].concat()).await;
        assert_eq!((code, &err[..]), (Some(0), ""), "{out}");
        assert!(number(&out, "server_memory_peak") < MEMORY_MAX, "{out}");
        assert_eq!(
            number(&out, "received") % 12.0,
            0.0,
            "the stopped one has got as many as the others: {out}"
        );
        let said = number(&out, "received") / 12.0 * 8_000.0;
        if said > 1.5 * MEMORY_MAX {
            return;
        }
        seconds *= (2.0 * MEMORY_MAX / said).clamp(2.0, 16.0);
    }
}

#[tokio::test]
async fn what_cannot_be_is_said_clearly() {
    let failing = [
        (&["--senders", "11"][..], 1, "11 senders among 10 receivers"),
        (&["--senders", "8", "--stopped", "3"], 1, "8 senders and 3 stopped readers among 10 receivers"),
        (&["--payload", "10"], 1, "a payload of 10 bytes is too small"),
        (&["--spawn", "--protocol", "irc", "--payload", "321"], 1, "too large for irc: 320 at most"),
        (&["--rate", "0"], 1, "a rate must be above 0"),
        (&["--rooms", "0"], 1, "at least one room is needed"),
        (&["--rate", "5", "--window", "5"], 2, "cannot be used with"),
        (&["--seconds", "soon"], 2, "a number of seconds is needed"),
        (&["--protocol", "smoke"], 2, "possible values: native, classic, websocket, irc"),
        (&["--spawn", "--server", "localhost"], 2, "cannot be used with"),
        (&["--tls", "--no-tls"], 2, "cannot be used with"),
        (&["--server", "127.0.0.1:1"], 1, "cannot connect to 127.0.0.1:1"),
        (&["--server-pid", "4294967295"], 1, "cannot read what the server"),
    ];
    for (args, code, why) in failing {
        let (exit, out, err) = bench(args).await;
        assert_eq!((exit, &out[..]), (Some(code), ""), "{args:?}");
        assert!(err.contains(why), "{args:?}: {err}");
    }
}

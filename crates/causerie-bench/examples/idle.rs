//! Memory of a server for each member that is there and says nothing, in clear text and by TLS.
//!
//! ```sh
//! cargo build --release && cargo run --release --package causerie-bench --example idle -- target/release/causerie 5000
//! ```
//!
//! Rooms of a hundred, so that what is measured are connections and not the *Joined* of others. Linux only: it reads
//! `/proc`.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use causerie_bench::classic::Classic;
use causerie_bench::irc::Irc;
use causerie_bench::native::Native;
use causerie_bench::process::{Started, raise_file_limit};
use causerie_bench::websocket::WebSocket;
use causerie_bench::{BlockingSocket, LoadProtocol, LoadServer, LoadSpeaker, SpeakerSeat};

const ROOM: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, members] = &arguments[..] else { return Err("usage: idle PROGRAM MEMBERS".into()) };
    let members: usize = members.parse()?;
    let limit = raise_file_limit();
    if (members as u64) + 100 > limit {
        return Err(format!("only {limit} files may be open (see ulimit -n)").into());
    }
    let kinds = ["native", "classic", "websocket", "irc"];
    for (which, tls) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        // One server for both, so that what they differ by are the connections.
        let server = Started::causerie_by_tls(Command::new(program))?;
        let at = LoadServer { address: server.address, tls };
        let protocol: Box<dyn LoadProtocol> = match which {
            "native" => Box::new(Native::new(at)),
            "classic" => Box::new(Classic::new(at)),
            "websocket" => Box::new(WebSocket::new(at)),
            _ => Box::new(Irc::new(at)),
        };
        let rooms: Vec<String> = (0..members.div_ceil(ROOM)).map(|n| format!("idle-{n}")).collect();
        protocol.open(&rooms)?;
        let before = resident(server.pid())?;
        let seats = (0..members).map(|n| SpeakerSeat {
            room: rooms[n / ROOM].clone(),
            name: format!("member-{n}"),
            talks: false,
            text_bytes: 0,
        });
        let joined = seats.map(|seat| join(at, &*protocol, seat)).collect::<Result<Vec<_>, _>>()?;
        // Until all is stored and every buffer was read.
        std::thread::sleep(Duration::from_secs(2));
        let after = resident(server.pid())?;
        let each = (after.saturating_sub(before)) as f64 / 1024.0 / joined.len() as f64;
        let how = if tls { " by TLS" } else { "" };
        println!(
            "{which}{how}: {} idle members: {before} bytes before, {after} with them: {each:.1} KiB each",
            joined.len()
        );
    }
    Ok(())
}

fn join(
    server: LoadServer,
    protocol: &dyn LoadProtocol,
    seat: SpeakerSeat,
) -> Result<Box<dyn BlockingSocket>, Box<dyn Error>> {
    let mut stream = server.connect_blocking(PATIENCE)?;
    let mut speaker: Box<dyn LoadSpeaker> = protocol.speaker(seat);
    let mut words = Vec::new();
    speaker.greet(&mut words);
    let mut input = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while !speaker.is_ready() {
        stream.write_all(&words)?;
        words.clear();
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err("the server has closed".into());
        }
        input.extend_from_slice(&piece[..read]);
        let taken = speaker.read(&input, &mut words, &mut |_| {})?;
        input.drain(..taken);
    }
    stream.write_all(&words)?;
    Ok(stream)
}

/// Bytes of memory that the process has now.
fn resident(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

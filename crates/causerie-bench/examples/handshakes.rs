//! Handshakes of TLS a second: connections that are made, encrypted, greeted by one answer and closed, one behind the other in
//! some threads; beside the same in clear text.
//!
//! ```sh
//! cargo build --release && cargo run --release --package causerie-bench --example handshakes -- target/release/causerie 4 5
//! ```
//! The arguments: the program, threads, seconds.

use std::error::Error;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use causerie_bench::LoadServer;
use causerie_bench::process::Started;

const PATIENCE: Duration = Duration::from_secs(30);
const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, threads, seconds] = &arguments[..] else {
        return Err("usage: handshakes PROGRAM THREADS SECONDS".into());
    };
    let (threads, time) = (threads.parse::<usize>()?, Duration::from_secs(seconds.parse()?));
    let server = Started::causerie_by_tls(Command::new(program))?;
    for tls in [false, true] {
        let (at, done) = (LoadServer { address: server.address, tls }, AtomicU64::new(0));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        while begun.elapsed() < time {
                            ask(at)?;
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        std::io::Result::Ok(())
                    })
                })
                .collect();
            running.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })?;
        let how = if tls { "by TLS" } else { "in clear text" };
        println!(
            "{how}: {:.0} connections a second",
            done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn ask(server: LoadServer) -> std::io::Result<()> {
    let mut stream = server.connect_blocking(PATIENCE)?;
    stream.write_all(QUESTION)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"HTTP/1.1 204");
    Ok(())
}

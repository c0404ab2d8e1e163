//! Real processes in one room: five native clients on bad links, whose connections are cut in the middle, and two
//! classic ones. They talk and answer at random; every broadcast and delivery is recorded from outside, through
//! their pipes and sockets, and judged by an oracle that rebuilds happened-before from those records alone.
//!
//! `SEED=n cargo test -p causerie --test causal_order` draws the talk and the links' faults from another seed.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use cbcast_sim::Oracle;
use common::{Process, Proxy, Said, Server, causerie, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

const NATIVE: usize = 5;
const CLASSIC: usize = 2;
const MESSAGES: usize = 160;

/// Somebody who talks.
enum Talker {
    Native(Box<Process>),
    Classic(OwnedWriteHalf),
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Record of what has been seen so far.
struct Record {
    oracle: Oracle<String, String>,
    /// The last text that each has seen, to answer to.
    last_seen: BTreeMap<String, String>,
    held: usize,
    back: usize,
}

impl Record {
    fn take(&mut self, (who, said): (String, Said)) {
        match said {
            Said::Out(line) => match line.split_once(" : ") {
                Some((author, text)) => {
                    assert!(text.starts_with(author), "{author} did not say {text}");
                    self.oracle.deliver(who.clone(), &text.to_owned()).unwrap_or_else(|violation| {
                        panic!("causal order is broken: {violation}");
                    });
                    self.last_seen.insert(who, text.to_owned());
                }
                // Classic clients are told who comes and goes; native ones on standard error.
                None => {
                    assert!(line.ends_with(" the chatroom") && who.starts_with("classic"), "{who}: {line}")
                }
            },
            Said::Err(line) => {
                self.held += usize::from(line.starts_with("holding"));
                self.back += usize::from(line.starts_with("back"));
            }
            Said::OutEnd => {}
        }
    }

    fn take_all(&mut self, said: &mut mpsc::UnboundedReceiver<(String, Said)>) {
        while let Ok(line) = said.try_recv() {
            self.take(line);
        }
    }
}

#[tokio::test]
async fn real_processes_keep_causal_order_over_bad_links_and_lose_nothing() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("replay with: SEED={seed} cargo test -p causerie --test causal_order -- --nocapture");
    let mut random = Random(seed);
    let server = Server::start(&[]).await;
    let proxy = Proxy::start(server.address()).await;

    // A classic client makes the room.
    let mut controller = TcpStream::connect(server.address()).await.unwrap();
    controller.write_all(b"./createRoom").await.unwrap();
    let mut answer = [0; 1024];
    let n = soon("the room is made", controller.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    let room =
        answer.split("\"port\": ").nth(1).and_then(|p| p.split(',').next()).expect("a port").to_owned();

    let (send, mut said) = mpsc::unbounded_channel();
    let mut talkers: Vec<(String, Talker)> = Vec::new();
    for n in 0..CLASSIC {
        let name = format!("classic{n}");
        let stream = TcpStream::connect(format!("127.0.0.1:{room}")).await.unwrap();
        let (input, mut output) = stream.into_split();
        output.write_all(format!("{name}\n").as_bytes()).await.unwrap();
        let (who, send) = (name.clone(), send.clone());
        tokio::spawn(async move {
            let mut lines = BufReader::new(input).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = send.send((who.clone(), Said::Out(line)));
            }
        });
        talkers.push((name, Talker::Classic(output)));
    }
    for n in 0..NATIVE {
        let name = format!("native{n}");
        let link = format!("delay=0..{}ms,loss=8%,dup=5%,seed={}", 50 + 100 * n, seed * 10 + n as u64);
        let mut command = causerie();
        command.args(["chat", &format!("127.0.0.1:{}", proxy.port), "--room", &room, "--name", &name]);
        command.args(["--plain", "--link", &link]);
        talkers.push((name.clone(), Talker::Native(Box::new(Process::start(command, name, send.clone())))));
    }
    let mut record = Record { oracle: Oracle::new(), last_seen: BTreeMap::new(), held: 0, back: 0 };
    // Until everybody is in: whoever joins later rightly misses what was said before.
    let mut inside = 0;
    while inside < NATIVE {
        let line = soon("everybody is in", said.recv()).await.expect("somebody lives");
        inside += usize::from(matches!(&line.1, Said::Err(text) if text.starts_with("in '")));
        record.take(line);
    }
    soon("classic clients are in", async {
        loop {
            let mut asks = Directory::connect(&server.address()).await;
            if asks.members(&room).await == NATIVE + CLASSIC {
                break;
            }
        }
    })
    .await;

    let mut cut = 0;
    for n in 0..MESSAGES {
        // What they have printed by now they had delivered before they get to say this.
        record.take_all(&mut said);
        let at = random.below(talkers.len());
        let (name, talker) = &mut talkers[at];
        let text = match record.last_seen.get(name) {
            Some(question) if random.below(2) == 0 => {
                format!(
                    "{name} {n} answers {}",
                    question.split_whitespace().take(2).collect::<Vec<_>>().join("/")
                )
            }
            _ => format!("{name} {n}"),
        };
        record.oracle.broadcast(name.clone(), text.clone()).unwrap();
        match talker {
            Talker::Native(process) => process.write(&text).await,
            Talker::Classic(output) => output.write_all(format!("{text}\n").as_bytes()).await.unwrap(),
        }
        if n % 40 == 25 {
            cut += proxy.cut();
        }
        tokio::time::sleep(Duration::from_millis(random.below(40) as u64)).await;
    }

    let everything = async {
        while talkers.iter().any(|(name, _)| record.oracle.has_all(name).is_err()) {
            record.take(said.recv().await.expect("somebody lives"));
        }
    };
    if tokio::time::timeout(common::PATIENCE, everything).await.is_err() {
        let lost: Vec<_> = talkers.iter().filter_map(|(name, _)| record.oracle.has_all(name).err()).collect();
        panic!("lost: {lost:?}");
    }
    for (name, talker) in &mut talkers {
        match talker {
            Talker::Native(process) => {
                process.stdin = None;
                assert!(process.exit().await.success(), "{name}");
            }
            Talker::Classic(output) => output.write_all(b"./leave\n").await.unwrap(),
        }
    }
    record.take_all(&mut said);
    println!(
        "{} messages, {} deliveries judged, {} held, {cut} connections cut, {} times back",
        record.oracle.broadcasts(),
        record.oracle.deliveries(),
        record.held,
        record.back
    );
    assert_eq!(record.oracle.deliveries(), (MESSAGES * (NATIVE + CLASSIC - 1)) as u64);
    assert!(record.held > 0 && cut > 0 && record.back > 0, "a run without trouble proves nothing");
}

/// Asks the controller in the classic way.
struct Directory(BufReader<TcpStream>);

impl Directory {
    async fn connect(address: &str) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    async fn members(&mut self, room: &str) -> usize {
        self.0.write_all(b"./rooms\n").await.unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).await.unwrap();
        let room = answer.split(&format!("\"name\": \"{room}\"")).nth(1).unwrap_or_default();
        let members = room.split("\"members\": ").nth(1).unwrap_or_default();
        members.split('}').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

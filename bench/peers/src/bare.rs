//! The bare loop: what this machine can do at most. Bytes with a length in front go to everybody in the room, in
//! batched writes, and nothing else happens; in its other form each batch is first appended to a file and synced.
//!
//! A connection's first frame names its room, and is answered by an empty one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use causerie_bench::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Length and body of the frame at the front; `None` until it is whole.
#[inline]
fn frame(input: &[u8]) -> Option<&[u8]> {
    let (length, rest) = input.split_first_chunk::<4>()?;
    rest.get(..u32::from_le_bytes(*length) as usize)
}

fn put_frame(out: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("texts are short");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(body);
}

#[derive(Debug)]
pub(crate) struct Bare;

impl LoadProtocol for Bare {
    fn name(&self) -> &'static str {
        "bare loop"
    }

    fn echoes(&self) -> bool {
        true
    }

    fn speaker(&self, seat: SpeakerSeat) -> Box<dyn LoadSpeaker> {
        Box::new(BareClient { room: seat.room, is_ready: false })
    }
}

struct BareClient {
    room: String,
    is_ready: bool,
}

impl LoadSpeaker for BareClient {
    fn greet(&mut self, out: &mut Vec<u8>) {
        put_frame(out, self.room.as_bytes());
    }

    fn is_ready(&self) -> bool {
        self.is_ready
    }

    fn read(
        &mut self,
        input: &[u8],
        _: &mut Vec<u8>,
        deliver: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, SpeakError> {
        let mut at = 0;
        while let Some(body) = frame(&input[at..]) {
            at += 4 + body.len();
            match body {
                [] => self.is_ready = true,
                text => deliver(text),
            }
        }
        Ok(at)
    }

    fn say(&mut self, text: &[u8], out: &mut Vec<u8>) {
        put_frame(out, text);
    }
}

struct BareConnection {
    stream: TcpStream,
    room: Option<usize>,
    /// The start of a frame whose end has not come.
    rest: Vec<u8>,
    /// What the socket did not take yet.
    pending: Vec<u8>,
}

#[derive(Default)]
struct BareRoom {
    members: Vec<usize>,
    batch: Vec<u8>,
}

impl BareConnection {
    /// Whether the connection is still there.
    fn write(&mut self, bytes: &[u8]) -> bool {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            return true;
        }
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.pending.extend_from_slice(&bytes[written..]);
        true
    }

    fn flush(&mut self) -> bool {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)
    }
}

/// Serves until the process is ended. With `log` every batch is appended to that file and synced before anybody
/// gets it, all rooms' together.
pub(crate) fn serve(listen: SocketAddr, log: Option<&Path>) -> io::Result<()> {
    const LISTENER: Token = Token(usize::MAX);
    let mut log = log.map(File::create).transpose()?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: BTreeMap<usize, BareConnection> = BTreeMap::new();
    let mut next = 0;
    let mut names: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut rooms: Vec<BareRoom> = Vec::new();
    let mut busy: Vec<usize> = Vec::new();
    let mut scratch = vec![0; 256 << 10];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let mut gone = Vec::new();
        for event in events.iter() {
            let Token(token) = event.token();
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both)?;
                    let (rest, pending) = (Vec::new(), Vec::new());
                    connections.insert(next, BareConnection { stream, room: None, rest, pending });
                    next += 1;
                }
                continue;
            }
            let Some(connection) = connections.get_mut(&token) else { continue };
            if event.is_writable() && !connection.flush() {
                gone.push(token);
            }
            while event.is_readable() {
                let read = match connection.stream.read(&mut scratch) {
                    Ok(0) => {
                        gone.push(token);
                        break;
                    }
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => {
                        gone.push(token);
                        break;
                    }
                };
                // Frames seldom lie across reads.
                let joined;
                let input = match connection.rest.is_empty() {
                    true => &scratch[..read],
                    false => {
                        joined = [&connection.rest[..], &scratch[..read]].concat();
                        &joined[..]
                    }
                };
                let mut at = 0;
                while let Some(body) = frame(&input[at..]) {
                    let whole = &input[at..at + 4 + body.len()];
                    at += whole.len();
                    match connection.room {
                        Some(room) => {
                            if rooms[room].batch.is_empty() {
                                busy.push(room);
                            }
                            rooms[room].batch.extend_from_slice(whole);
                        }
                        None => {
                            let room = *names.entry(body.to_vec()).or_insert_with(|| {
                                rooms.push(BareRoom::default());
                                rooms.len() - 1
                            });
                            connection.room = Some(room);
                            rooms[room].members.push(token);
                            connection.write(&[0; 4]);
                        }
                    }
                }
                connection.rest = input[at..].to_vec();
                // Less than was asked for: epoll tells of what comes next.
                if cfg!(target_os = "linux") && read < scratch.len() {
                    break;
                }
            }
        }
        if let (Some(log), false) = (&mut log, busy.is_empty()) {
            for room in &busy {
                log.write_all(&rooms[*room].batch)?;
            }
            log.sync_data()?;
        }
        for room in busy.drain(..) {
            let BareRoom { members, batch } = &mut rooms[room];
            for member in members {
                if let Some(connection) = connections.get_mut(member)
                    && !connection.write(batch)
                {
                    gone.push(*member);
                }
            }
            batch.clear();
        }
        for token in gone {
            if let Some(BareConnection { room: Some(room), .. }) = connections.remove(&token) {
                rooms[room].members.retain(|member| *member != token);
            }
        }
    }
}

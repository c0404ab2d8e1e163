//! A client's session against a server that says anything at any time.
#![no_main]

use std::iter::from_fn;
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use causerie_core::content::body::Body;
use causerie_core::id::Position;
use causerie_core::key::Challenge;
use causerie_core::session::{End, Event, SayError, Session, SessionConfig, SessionOutput};
use causerie_core::wire::{
    ClientFrame, Delivered, ErrorCode, ErrorFrame, MemberInfo, ServerFrame, VERSION, Welcome,
};
use cbcast::{Kind, MemberId, Message, MessageId, MissingRange, Snapshot, Time, VectorClock};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Who(u8);

impl Who {
    fn id(self) -> MemberId {
        MemberId::new(u32::from(self.0 / 8 % 2), u32::from(self.0 % 8))
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Small(u8),
    Any(u64),
}

impl Number {
    fn place(self) -> Position {
        Position::new(self.get())
    }

    fn get(self) -> u64 {
        match self {
            Self::Small(n) => u64::from(n % 32),
            Self::Any(n) => n,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum What {
    Data,
    Joined(Who),
    Left(Who, Number),
}

#[derive(Arbitrary, Debug)]
struct Hello {
    member: Who,
    epoch: u8,
    position: Number,
    first: Number,
    gap_from: Option<Number>,
    members: Vec<(Who, bool)>,
    clock: Vec<(Who, Number)>,
    frontier: Vec<(Who, Number)>,
    text_bytes: Number,
}

#[derive(Arbitrary, Debug)]
enum Op<'a> {
    Connected,
    Disconnected,
    /// What a server answers to a hello, so that a run does not need luck to get in.
    In {
        hello: Hello,
    },
    Welcome {
        hello: Hello,
    },
    HelloBack {
        version: u8,
    },
    Resumed {
        taken: Number,
        position: Number,
    },
    Record {
        position: Number,
        from: Who,
        seq: Number,
        what: What,
        deps: Vec<(Who, Number)>,
        payload: &'a [u8],
    },
    /// A message of the session comes back from the log.
    Echo {
        which: u8,
        position: Number,
    },
    RecordBytes {
        position: Number,
        packet: &'a [u8],
    },
    Parted {
        taken: Number,
    },
    Want {
        ranges: Vec<(Who, Number, Number)>,
    },
    Clock {
        entries: Vec<(Who, Number)>,
    },
    Refused {
        seq: Number,
        is_final: bool,
    },
    Error {
        code: u8,
        fatal: bool,
        taken: Number,
        suggestion: &'a str,
    },
    Frame {
        kind: u8,
        body: &'a [u8],
    },
    Say {
        text: &'a str,
    },
    Leave,
    Later {
        millis: u16,
    },
    Timeout,
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    heartbeat: bool,
    create: bool,
    pending_max: u8,
    ops: Vec<Op<'a>>,
}

fn ids(all: &[(Who, Number)]) -> Vec<MessageId> {
    let mut ids: Vec<_> = all.iter().map(|(who, seq)| MessageId::new(who.id(), seq.get())).collect();
    ids.sort();
    ids.dedup_by_key(|id| id.member);
    ids
}

fn welcome(hello: &Hello) -> ServerFrame {
    let mut clock: VectorClock = hello.clock.iter().map(|(who, n)| (who.id(), n.get())).collect();
    let member = hello.member.id();
    clock.set(member, clock.get(member));
    let snapshot = Snapshot {
        next_ordinals: Snapshot::fixed(clock.iter().map(|(member, _)| member)).next_ordinals,
        clock,
        frontier: ids(&hello.frontier),
    };
    ServerFrame::Welcome(Box::new(Welcome {
        room: "room".into(),
        created: false,
        member,
        epoch: causerie_core::id::Epoch::new(u64::from(hello.epoch % 2)),
        position: hello.position.place(),
        first: hello.first.place(),
        gap_from: hello.gap_from.map(Number::place),
        snapshot,
        members: hello
            .members
            .iter()
            .map(|(who, present)| MemberInfo { member: who.id(), name: "name".into(), present: *present })
            .collect(),
        limits: causerie_core::wire::Limits {
            name_chars: 50,
            text_bytes: hello.text_bytes.get(),
            frame_bytes: 1 << 20,
            grace_millis: 1_000,
        },
        shared: hello.gap_from.map(Number::place),
    }))
}

struct Run {
    session: Session,
    now: Time,
    own: Vec<Bytes>,
    pending_max: usize,
}

impl Run {
    fn drain(&mut self) {
        let mut ended = false;
        for output in from_fn(|| self.session.poll_output()) {
            match output {
                SessionOutput::Send(frame) => {
                    assert!(!ended, "{frame:?} after the end");
                    if let ClientFrame::Broadcast(packet) = &frame {
                        Message::decode(packet.clone()).expect("a client sends messages");
                        self.own.push(packet.clone());
                    }
                    let mut bytes = Vec::new();
                    frame.encode(&mut bytes);
                }
                SessionOutput::Event(Event::Ended(
                    End::Left | End::Refused { .. } | End::Protocol(_) | End::Untrusted(_),
                )) => {
                    assert!(!ended, "two ends");
                    ended = true;
                }
                SessionOutput::Event(event) => {
                    let _ = format!("{event:?}");
                }
                SessionOutput::HangUp(_) => {}
            }
        }
        assert!(!ended || self.session.is_over());
        let held = self.session.held(self.now);
        assert!(held.iter().all(|h| h.waits_for != h.id));
        let _ = (self.session.members(), self.session.vector(), self.session.member());
        let _ = (self.session.poll_timeout(), self.session.is_live());
    }

    fn frame(&mut self, frame: ServerFrame) {
        let over = self.session.is_over();
        let _ = self.session.may_disturb(&frame);
        self.session.received(&frame);
        self.session.handle_frame(self.now, frame);
        if over {
            assert_eq!(self.session.poll_output(), None, "it was over");
        }
        self.drain();
    }
}

fuzz_target!(|input: Input<'_>| {
    let mut config = SessionConfig::new("room", "name", || [1; 32]);
    config.create = input.create;
    config.pending_max = usize::from(input.pending_max % 8);
    config.heartbeat = input.heartbeat.then_some(Duration::from_millis(100));
    let pending_max = config.pending_max;
    let mut run = Run { session: Session::new(config), now: Time::ZERO, own: Vec::new(), pending_max };
    for op in input.ops {
        match op {
            Op::Connected => run.session.connected(),
            Op::Disconnected => run.session.disconnected("gone".into(), Duration::from_millis(1)),
            Op::In { hello } => {
                run.session.connected();
                run.drain();
                let (agent, challenge) = (String::new(), Challenge::default());
                run.frame(ServerFrame::Hello { version: VERSION, agent, challenge });
                run.frame(welcome(&hello));
            }
            Op::Welcome { hello } => run.frame(welcome(&hello)),
            Op::HelloBack { version } => {
                let (agent, challenge) = (String::new(), Challenge::default());
                run.frame(ServerFrame::Hello { version: u64::from(version % 4), agent, challenge });
            }
            Op::Resumed { taken, position } => {
                run.frame(ServerFrame::Resumed { taken: taken.get(), position: position.place() });
            }
            Op::Record { position, from, seq, what, deps, payload } => {
                let kind = match what {
                    What::Data => Kind::Data,
                    What::Joined(who) => Kind::Joined(who.id()),
                    What::Left(who, last) => Kind::Left { member: who.id(), last_seq: last.get() },
                };
                let deps: Vec<_> = ids(&deps).into_iter().filter(|d| d.member != from.id()).collect();
                let id = MessageId::new(from.id(), seq.get());
                if let Ok(message) = Message::new(id, kind, &deps, payload) {
                    let packet = message.into_packet();
                    run.frame(ServerFrame::Delivered(Delivered {
                        position: position.place(),
                        time_millis: 1,
                        packet,
                    }));
                }
            }
            Op::Echo { which, position } => {
                if let Some(packet) = run.own.get(usize::from(which)).cloned() {
                    let position = position.place();
                    run.frame(ServerFrame::Delivered(Delivered { position, time_millis: 1, packet }));
                }
            }
            Op::RecordBytes { position, packet } => {
                let (position, packet) = (position.place(), Bytes::copy_from_slice(packet));
                run.frame(ServerFrame::Delivered(Delivered { position, time_millis: u64::MAX, packet }));
            }
            Op::Parted { taken } => run.frame(ServerFrame::Parted { taken: taken.get() }),
            Op::Want { ranges } => {
                let ranges = ranges.iter().map(|(who, from, to)| MissingRange {
                    member: who.id(),
                    from: from.get(),
                    to: to.get(),
                });
                run.frame(ServerFrame::Want(ranges.collect()));
            }
            Op::Clock { entries } => {
                let clock = entries.iter().map(|(who, n)| (who.id(), n.get())).collect();
                run.frame(ServerFrame::Clock(clock));
            }
            Op::Refused { seq, is_final } => {
                run.frame(ServerFrame::Refused {
                    seq: Some(seq.get()).filter(|seq| *seq != 0),
                    is_final,
                    reason: "because".into(),
                });
            }
            Op::Error { code, fatal, taken, suggestion } => run.frame(ServerFrame::Error(ErrorFrame {
                code: ErrorCode::from_number(u64::from(code % 30)),
                fatal,
                message: "because".into(),
                suggestion: Some(suggestion.to_owned()).filter(|name| !name.is_empty()),
                taken: Some(taken.get()),
            })),
            Op::Frame { kind, body } => {
                if let Ok(Some(frame)) = ServerFrame::decode(kind, &Bytes::copy_from_slice(body)) {
                    run.frame(frame);
                }
            }
            Op::Say { text } => {
                let over = run.session.is_over();
                let before = run.session.on_their_way();
                let said = run.session.say(run.now, &Body::Text(text.into()));
                match said {
                    Ok(_) => assert!(!over && before < run.pending_max),
                    Err(SayError::Full { limit }) => assert!(before >= limit),
                    Err(_) => {}
                }
            }
            Op::Leave => run.session.leave(),
            Op::Later { millis } => run.now = run.now + Duration::from_millis(millis.into()),
            Op::Timeout => run.session.handle_timeout(run.now),
        }
        run.drain();
    }
});

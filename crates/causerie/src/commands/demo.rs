//! `causerie demo`: a server that keeps nothing, with members who talk over bad links, for something to look at at once.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use causerie_client::{Body, Disturbance, Event, Post, Room, RoomOptions, SayError};
use causerie_server::Settings;
use causerie_store::{MemoryStore, Retention};
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::serve::Signals;
use crate::address::{DEFAULT_PORT, listening};

/// Start a server for a look at once: members talk over bad links, and what arrives too early is held.
///
/// Nothing is kept: all of it is gone when the demonstration ends.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Address to listen on [default: 127.0.0.1:12343, or any free port].
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = listening)]
    listen: Option<SocketAddr>,
    /// Seed of the links' faults.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

const ROOM: &str = "demo";
/// The worst link.
const LINK: &str = "delay=0..2s,loss=35%";
/// Members who talk, with their links.
const TALKERS: [(&str, &str); 4] = [
    ("Ann", "delay=5..30ms"),
    ("Bob", "delay=20..150ms,loss=5%"),
    ("Cleo", "delay=0..800ms,loss=15%"),
    ("Eve", LINK),
];
/// A question of one, and what the others say to it: each in as many messages as there are sentences.
const SCENES: [(&str, [&str; 3]); 8] = [
    (
        "Lunch at one?",
        ["Yes. The usual place?", "I have a meeting until half past.", "I am on the train. It is late."],
    ),
    (
        "Who has the key to the lab?",
        ["Not me.", "It is on my desk. Help yourself.", "I put it back. I think. Look again."],
    ),
    (
        "Did the build pass?",
        ["It is green here.", "One test is red. It is mine.", "Which build? I see nothing."],
    ),
    (
        "Does anybody hear me?",
        ["Loud and clear.", "Yes. You are early today.", "A tunnel. Another one. There you are."],
    ),
    (
        "What came first: this or your answer?",
        ["This did.", "Ask the arrows. They know.", "I saw both. In this order."],
    ),
    ("Coffee?", ["Please.", "Always. Black.", "Two sugars. No milk. Thank you."]),
    ("Shall we meet tomorrow?", ["At ten.", "I can. Ten is fine.", "Where? When? Say it again."]),
    ("Is this thing on?", ["It is.", "Red light means yes.", "Hello? Hello. Good."]),
];
/// Slow enough to be read, and for the picture to be followed.
const SCENE_EVERY: Duration = Duration::from_secs(12);
/// Between two sentences of one. The worst link takes longer now and then, so one overtakes another.
const SENTENCE_EVERY: Duration = Duration::from_millis(900);
/// The oldest go, so that a demonstration may run for days.
const KEPT: u64 = 20_000;
/// Time that connections may take at the end.
const DRAIN: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let listener = listen(args.listen).await?;
    let address = listener.local_addr()?;
    let retention = Retention { count: Some(KEPT), ..Retention::default() };
    let settings = watch::Sender::new(Settings { retention, drain: DRAIN, ..Settings::default() });
    let (stop, stopped) = oneshot::channel();
    let serving =
        causerie_server::serve(listener, Arc::new(MemoryStore::new()), settings.subscribe(), async {
            let _ = stopped.await;
        });
    let mut serving = std::pin::pin!(serving);
    let mut talkers = JoinSet::new();
    for (place, (name, link)) in TALKERS.into_iter().enumerate() {
        let link = format!("{link},seed={}", args.seed.wrapping_add(place as u64));
        let link: Disturbance = link.parse().expect("our own links are well-formed");
        let options = RoomOptions::new(&reachable(address).to_string(), ROOM, name).create(true);
        talkers.spawn(talk(options.disturbance(link), place));
    }
    welcome(address)?;
    let ended = tokio::select! {
        served = &mut serving => return Ok(served?),
        _ = signals.next() => Ok(()),
        Some(ended) = talkers.join_next() => ended.context("a member fell silent").and_then(|said| said),
    };
    talkers.shutdown().await;
    let _ = stop.send(());
    tokio::select! {
        served = &mut serving => served?,
        // Once more: nothing is waited for.
        _ = signals.next() => {}
    }
    ended
}

async fn listen(wanted: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    let usual = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT));
    match (TcpListener::bind(wanted.unwrap_or(usual)).await, wanted) {
        (Err(error), None) if error.kind() == io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(SocketAddr::new(usual.ip(), 0)).await?)
        }
        (bound, wanted) => bound.map_err(|error| {
            anyhow!(
                "cannot listen on {}: {error}; --listen ADDRESS:PORT chooses another",
                wanted.unwrap_or(usual)
            )
        }),
    }
}

/// Returns the address at which programs on the same machine reach what listens there.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(at) if at.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], at.port())),
        SocketAddr::V6(at) if at.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, at.port()))
        }
        other => other,
    }
}

fn welcome(address: SocketAddr) -> io::Result<()> {
    let program = std::env::args().next().unwrap_or_else(|| "causerie".into());
    let at = reachable(address);
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "causerie {} shows itself on {address}. Nothing of it is kept.",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out)?;
    writeln!(out, "  To try it out step by step:       http://{at}/lab")?;
    writeln!(out, "  To watch, in a browser:           http://{at}/?hold#{ROOM}")?;
    writeln!(
        out,
        "  To join, in another terminal:     {program} chat {at} --room {ROOM} --name YOUR-NAME --link {LINK}"
    )?;
    writeln!(out, "  To stop:                          Ctrl-C")?;
    writeln!(out)?;
    writeln!(
        out,
        "  Ann, Bob, Cleo and Eve talk, each over a worse link than the one before. What is received before its"
    )?;
    writeln!(
        out,
        "  causes is held until they have been delivered: the picture stops there, and tells why. --link makes"
    )?;
    writeln!(out, "  your own link as bad; without it yours is good.")?;
    out.flush()
}

/// Sentences that one of them is going to say.
struct Talk {
    place: usize,
    next_scene: usize,
    sentences: VecDeque<Body>,
}

impl Talk {
    /// Each asks in turn.
    fn ask(&mut self) {
        let (question, _) = SCENES[self.next_scene % SCENES.len()];
        self.sentences.push_back(Body::Text(question.into()));
        self.next_scene += TALKERS.len();
    }

    /// An answer, sentence by sentence, if that was a question of another talker.
    fn hear(&mut self, post: &Post) {
        let Body::Text(text) = &post.body else { return };
        let asker = TALKERS.iter().position(|(name, _)| *name == post.author);
        let scene = SCENES.iter().find(|(question, _)| question == text);
        let (Some(asker), Some((_, answers)), false, false) = (asker, scene, post.own, post.history) else {
            return;
        };
        // The askers are those others before and behind us.
        let answer = answers[if asker < self.place { self.place - 1 } else { self.place }];
        let mut sentences = answer.split_inclusive(['.', '?']).map(|sentence| sentence.trim().to_owned());
        self.sentences.extend(sentences.next().map(|text| Body::Reply { to: post.id, text }));
        self.sentences.extend(sentences.map(Body::Text));
    }
}

async fn talk(options: RoomOptions, place: usize) -> anyhow::Result<()> {
    let mut room = options.join().await.context("cannot join the demonstration")?;
    let mut talk = Talk { place, next_scene: place, sentences: VecDeque::new() };
    let mut scene = Instant::now() + SCENE_EVERY * place as u32 + SENTENCE_EVERY;
    let mut sentence = scene;
    loop {
        tokio::select! {
            event = room.next_event() => match event {
                Some(Event::Delivered(post)) => {
                    if talk.sentences.is_empty() {
                        sentence = Instant::now() + SENTENCE_EVERY;
                    }
                    talk.hear(&post);
                }
                Some(Event::Ended(end)) => return Err(anyhow!("a member of the demonstration is out: {end}")),
                Some(_) => {}
                None => return Err(anyhow!("a member of the demonstration is gone")),
            },
            () = sleep_until(scene) => {
                scene += SCENE_EVERY * TALKERS.len() as u32;
                talk.ask();
                sentence = Instant::now();
            }
            () = sleep_until(sentence), if !talk.sentences.is_empty() => {
                sentence = Instant::now() + SENTENCE_EVERY;
                say(&room, &mut talk.sentences)?;
            }
        }
    }
}

/// The next sentence; while too much is on its way it waits.
fn say(room: &Room, sentences: &mut VecDeque<Body>) -> anyhow::Result<()> {
    match sentences.front().map(|body| room.send(body)) {
        Some(Err(error)) if !matches!(error, SayError::Full { .. }) => Err(error.into()),
        Some(Err(_)) => Ok(()),
        _ => {
            sentences.pop_front();
            Ok(())
        }
    }
}

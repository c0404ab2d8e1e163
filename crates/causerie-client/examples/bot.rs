//! A bot that answers questions: whoever writes `?WORDS` gets an answer, and everybody sees the question first.
//!
//! `cargo run -p causerie-client --example bot -- [HOST:PORT] [ROOM] [NAME] [SHA256]`: the last is the fingerprint of the server's key,
//! where its certificate is its own.

use causerie_client::{Body, Event, RoomOptions, Security};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let server = args.next().unwrap_or_else(|| "127.0.0.1:12343".into());
    let room = args.next().unwrap_or_else(|| "lobby".into());
    let name = args.next().unwrap_or_else(|| "oracle".into());

    let security = match args.next() {
        Some(key) => Security::new().pin(key.parse()?),
        None => Security::new(),
    };

    let mut room = RoomOptions::new(&server, &room, &name).security(security).create(true).join().await?;
    loop {
        let event = tokio::select! {
            event = room.next_event() => event,
            _ = tokio::signal::ctrl_c() => {
                room.leave(); // Ended comes once everything said is taken
                continue;
            }
        };
        match event {
            Some(Event::Welcomed { member, room, members, .. }) => {
                eprintln!("in {room} as {member}, with {} others", members.len() - 1);
            }
            Some(Event::Delivered(post)) if !post.own && !post.history => {
                if let Body::Text(text) = &post.body
                    && let Some(question) = text.strip_prefix('?')
                {
                    let answer = if question.len() % 2 == 0 { "yes" } else { "no" };
                    room.say(&format!("{}: {answer}", post.author))?;
                }
            }
            Some(Event::Held { id, waits_for, .. }) => eprintln!("holding {id} until {waits_for} is here"),
            Some(Event::Reconnecting { reason, retry_in }) => {
                eprintln!("connection lost ({reason}), trying again in {retry_in:?}");
            }
            Some(Event::Resumed { resent }) => eprintln!("back, {resent} messages sent again"),
            Some(Event::Ended(end)) => {
                eprintln!("{end}");
                return Ok(());
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

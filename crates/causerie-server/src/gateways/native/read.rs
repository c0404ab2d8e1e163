//! Reading from native clients: frames are cut from what comes, and messages that stand together go to the room together.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causerie_core::content::text::visible;
use causerie_core::wire::{ClientFrame, ErrorCode, ErrorFrame, FrameError, ServerFrame, split_frame};
use tokio::time::Instant;
use tracing::info;

use super::session::{NativeMembership, NativeSession};
use crate::metrics::Refused;
use crate::net::outbox;
use crate::settings::Protocol;

/// Room below which the read buffer grows by [`READ_MAX`].
const READ_MIN: usize = 512;
const READ_MAX: usize = 8 << 10;
/// Messages handed to a room at once.
const PACKETS_MAX: usize = 1_024;

impl NativeSession<'_> {
    /// Reads until the client has closed. After a fatal error the writer ends the connection.
    pub(super) async fn read(&self, mut buffer: BytesMut) -> io::Result<()> {
        let limit = self.server.settings().room.frame_bytes_max();
        let mut begun = Instant::now();
        loop {
            let greeted = self.is_greeted();
            if let Err(error) = self.handle_all(&mut buffer, limit, &mut begun).await {
                let (code, reason) = match error {
                    FrameError::TooLong { .. } => (ErrorCode::FrameTooLong, Refused::TooLong),
                    _ => (ErrorCode::Malformed, Refused::Malformed),
                };
                self.server.metrics.refused(Protocol::Native, reason);
                self.error(ErrorFrame::fatal(code, error.to_string()));
                return std::future::pending().await;
            }
            if self.outbox.is_finished() {
                // The writer ends the connection behind what it still has to say.
                return std::future::pending().await;
            }
            if greeted != self.is_greeted() {
                begun = Instant::now();
            }
            let deadline = begun + self.server.settings().first_words;
            let patient = buffer.is_empty() && self.is_greeted();
            if buffer.is_empty() {
                // Nothing is kept for a connection that is silent.
                buffer = BytesMut::new();
            }
            tokio::select! {
                read = outbox::read(&self.stream, &mut buffer, READ_MIN, READ_MAX) => {
                    if read? == 0 {
                        if !buffer.is_empty() {
                            let message = "the connection ended in the middle of a frame";
                            self.error(ErrorFrame::fatal(ErrorCode::Malformed, message));
                        }
                        // What is still to be said may be read yet.
                        self.outbox.finish();
                        return std::future::pending().await;
                    }
                    if patient {
                        begun = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(deadline), if !patient => {
                    let seconds = self.server.settings().first_words.as_secs_f32();
                    let message = match self.is_greeted() {
                        true => format!("a frame was begun and not ended within {seconds} s"),
                        false => format!("there was no hello within {seconds} s"),
                    };
                    self.error(ErrorFrame::fatal(ErrorCode::TimedOut, message));
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Handles the whole frames in `buffer`; broadcasts that stand together go to the room together.
    pub(super) async fn handle_all(
        &self,
        buffer: &mut BytesMut,
        limit: usize,
        begun: &mut Instant,
    ) -> Result<(), FrameError> {
        let mut packets = Vec::new();
        let handled = loop {
            if self.outbox.is_finished() {
                packets.clear();
                break Ok(());
            }
            if self.outbox.is_full() {
                self.broadcast_in_turn(&mut packets).await;
                self.outbox.has_room().await;
                *begun = Instant::now();
            }
            if packets.len() >= PACKETS_MAX {
                self.broadcast_in_turn(&mut packets).await;
                self.server.writer.has_room().await;
                *begun = Instant::now();
            }
            let frame = match split_frame(buffer, limit) {
                Ok(None) => break Ok(()),
                Ok(Some((kind, body))) => ClientFrame::decode(kind, &body),
                Err(error) => break Err(error),
            };
            *begun = Instant::now();
            match frame {
                Ok(Some(ClientFrame::Broadcast(packet))) => packets.push(packet),
                Ok(Some(frame)) => {
                    self.broadcast_in_turn(&mut packets).await;
                    // Apart: it is large, and rare.
                    Box::pin(self.handle(frame)).await;
                    // An answer may take its time, and what follows the frame is not late by that.
                    *begun = Instant::now();
                }
                Ok(None) if !self.is_greeted() => self.no_hello(),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        if self.broadcast_in_turn(&mut packets).await {
            // What has been begun behind them is not late by that.
            *begun = Instant::now();
        }
        self.server.writer.has_room().await;
        handled
    }

    /// Hands the packets to the room, no more of them at once than the address may say: what comes faster waits here, and
    /// nothing is read meanwhile. Whether it had to wait.
    pub(super) async fn broadcast_in_turn(&self, packets: &mut Vec<Bytes>) -> bool {
        if packets.is_empty() {
            return false;
        }
        let some = self.visitor.speak(packets.len());
        if some == Ok(packets.len()) {
            self.broadcast(packets);
            return false;
        }
        // Apart: it is rare.
        Box::pin(self.broadcast_slowly(packets, some)).await;
        true
    }

    pub(super) async fn broadcast_slowly(&self, packets: &mut Vec<Bytes>, mut some: Result<usize, Duration>) {
        loop {
            match some {
                Ok(count) => {
                    let rest = packets.split_off(count.min(packets.len()));
                    self.broadcast(packets);
                    *packets = rest;
                }
                Err(wait) => tokio::time::sleep(wait).await,
            }
            if packets.is_empty() || self.outbox.is_finished() {
                return packets.clear();
            }
            some = self.visitor.speak(packets.len());
        }
    }

    pub(super) fn broadcast(&self, packets: &mut Vec<Bytes>) {
        if packets.is_empty() {
            return;
        }
        if !self.is_greeted() {
            packets.clear();
            return self.no_hello();
        }
        let Some(NativeMembership { room, seat, .. }) = self.membership().clone() else {
            packets.clear();
            return self.unexpected("a message before joining");
        };
        let memory = &self.server.memory;
        let refusals = room.act(|room, now| {
            room.limit_held_bytes(memory.may_hold(room.held_bytes()));
            let mut refusals = Vec::new();
            for packet in packets.drain(..) {
                if room.is_closed() {
                    break;
                }
                refusals.extend(room.receive(now, seat, packet).err());
            }
            refusals
        });
        // What was taken comes back in its place; what was refused has changed nothing.
        let refusals = refusals.told_by_its_record();
        for refusal in refusals {
            let (seq, is_final, reason) = (refusal.seq, refusal.is_final, refusal.reason);
            // What cannot be read has no number.
            let why = match (seq, is_final) {
                (None, _) => Refused::Malformed,
                (_, true) => Refused::Invalid,
                (_, false) => Refused::Limit,
            };
            self.server.metrics.refused(Protocol::Native, why);
            if let Some(left_out) = self.visitor.log() {
                info!("refused from {}: {}{left_out}", self.peer, visible(&reason));
            }
            self.send(&ServerFrame::Refused { seq, is_final, reason: reason.clone() });
            if is_final {
                self.error(ErrorFrame::fatal(ErrorCode::MembershipEnded, reason));
            }
        }
    }
}

//! Packets that arrive at a process: whole, damaged, or a lie.

use bytes::Bytes;
use cbcast::{Control, Group, MemberId, Packet, ReceiveError};

use crate::random::SplitMix64;
use crate::sim::network::Flight;
use crate::sim::world::World;
use crate::sim::{TraceEvent, Wrong};

impl<F: FnMut(TraceEvent)> World<'_, F> {
    pub(super) fn receive(&mut self, flight: Flight) -> Result<(), Wrong> {
        let Flight { from, to, packet, damage, .. } = flight;
        if self.processes.get(&to).is_none_or(|process| process.stopped) {
            self.network.counts.lost += 1;
            return Ok(());
        }
        if let Some(damage) = damage {
            return self.receive_damaged(from, to, &packet, damage);
        }
        let is_lie = self.liars.contains(&from);
        // Nothing runs behind it that knows what it has said.
        let is_liar = self.liars.contains(&to);
        let packet = match Packet::decode(packet) {
            Ok(packet) => packet,
            Err(_) if is_lie => return Ok(()),
            Err(error) => return Err(Wrong::Unreadable { process: to, error }),
        };
        let (is_mesh, link) = (self.is_mesh(), self.link(to, from));
        let process = self.processes.get_mut(&to).expect("seen above");
        let now = process.clock.at(self.now);
        match packet {
            Packet::Message(message) => {
                let (id, held) = (message.id(), message.clone());
                match process.group.handle_message(now, link, message) {
                    Ok(()) => {
                        if is_lie && id.member == from {
                            self.stamp_lie(&held);
                        }
                        let textbook = self.processes.get_mut(&to).and_then(|p| p.textbook.as_mut());
                        if let (Some(textbook), Some(stamped)) = (textbook, self.stamped.get(&id)) {
                            textbook.receive(stamped.clone());
                        }
                    }
                    Err(_) if is_lie => self.report.meet("lies refused"),
                    Err(_) if is_liar => {}
                    // It was on its way when its sender left, or that does not know.
                    Err(ReceiveError::Departed { .. }) => {}
                    Err(error) if error.is_final() => return Err(Wrong::Refused { process: to, error }),
                    Err(_) => self.report.refused += 1,
                }
            }
            Packet::Control(Control::Want(ranges)) if !is_mesh => self.answer(to, from, &ranges),
            control => match process.group.handle_packet(now, link, control) {
                Ok(()) => {}
                Err(_) if is_lie => self.report.meet("lies refused"),
                Err(error) => return Err(Wrong::Refused { process: to, error }),
            },
        }
        self.drain(to)
    }

    /// Bits have been flipped. The link notices and drops the packet. One that did not would hand it to the group: a copy
    /// of it must take or refuse it, and be sound after that.
    fn receive_damaged(
        &mut self,
        from: MemberId,
        to: MemberId,
        packet: &Bytes,
        damage: u64,
    ) -> Result<(), Wrong> {
        self.report.meet("corrupt");
        let mut bytes = packet.to_vec();
        let random = &mut SplitMix64(damage);
        for _ in 0..1 + random.below(3) {
            let bit = random.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let Ok(packet) = Packet::decode(Bytes::from(bytes)) else { return Ok(()) };
        self.report.meet("corrupt, readable");
        let link = self.link(to, from);
        let process = &self.processes[&to];
        let now = process.clock.at(self.now);
        let mut group = process.group.clone();
        let _ = group.handle_packet(now, link, packet);
        group.handle_timeout(now);
        while group.poll_output().is_some() {}
        // What looks like an own message of before a restart is taken back, however many are unstable.
        let said = |group: &Group| process.locals.iter().map(|&who| group.delivered(who)).collect::<Vec<_>>();
        if said(&group) != said(&process.group) {
            return Ok(());
        }
        process.check_buffers_of(&group)
    }
}

//! Asking for what is missing: of whom, how much at once, and whom.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::config::Topology;
use crate::control::Control;
use crate::group::Group;
use crate::id::MemberId;
use crate::members::Slot;
use crate::repair::{Ask, MissingRange};
use crate::time::Time;
use crate::trace::tell_event;

impl Group {
    /// Asks for what is missing of the members whose turn has come, and sets the next deadline. All requests together
    /// name no more ranges than one may; those left out have their turn next, before who has been asked for later.
    pub(super) fn ask_for_missing(&mut self, now: Time) {
        let horizon = now + self.repair.slack();
        let due = self.lagging().filter(|(_, m)| m.repair.is_due(horizon));
        let mut due: Vec<_> = due.map(|(slot, m)| (m.repair.asked_at(), m.id, slot)).collect();
        due.sort_unstable();
        let members = due.iter().map(|&(_, id, slot)| (id, slot));
        let wanted = self.missing_of(members, self.config.repair_ranges_max);
        let mut ranges_of: BTreeMap<MemberId, Vec<MissingRange>> = BTreeMap::new();
        for range in wanted {
            ranges_of.entry(range.member).or_default().push(range);
        }
        let mut requests: BTreeMap<MemberId, Vec<MissingRange>> = BTreeMap::new();
        // Where there is a relay, all requests go there.
        let at_once = if self.config.topology == Topology::Mesh { 2 } else { 1 };
        let others = if ranges_of.is_empty() { Vec::new() } else { self.who_can_be_asked() };
        for (_, id, slot) in due {
            let something_is_missing = self.gaps(id, slot).next().is_some();
            let target = &mut self.members.get_mut(slot).repair;
            if let Some(ranges) = ranges_of.remove(&id) {
                self.repair.asked(target, now);
                let whom = target.whom().take(at_once);
                let mut to: Vec<_> =
                    whom.map(|ask| self.whom_to_ask(ask, slot, ranges[0].from, &others)).collect();
                to.dedup();
                for to in to {
                    requests.entry(to).or_default().extend_from_slice(&ranges);
                }
            } else if something_is_missing {
                self.repair.put_off(target, now);
            } else {
                self.repair.nothing_to_ask(target);
            }
        }
        for (to, ranges) in requests {
            tell_event!(debug, %to, ranges = ranges.len(), member = %ranges[0].member, from = ranges[0].from, "asked for");
            self.tell(to, Control::Want(ranges));
        }
        let deadline = self.lagging().filter_map(|(_, m)| m.repair.due()).min();
        self.repair.set_deadline(deadline);
    }

    /// Live members elsewhere, but for those about to leave, by those who speak for them; sorted.
    fn who_can_be_asked(&self) -> Vec<(MemberId, Slot)> {
        let live = self.members.iter().filter(|(_, m)| m.live && !m.local && m.frozen.is_none());
        let mut others: Vec<_> = live.map(|(slot, _)| (self.speaker(slot), slot)).collect();
        others.sort_unstable();
        others.dedup_by_key(|(speaker, _)| *speaker);
        others
    }

    /// One of `others`, or the sender. Who is known to have it has acknowledged it.
    fn whom_to_ask(&self, whom: Ask, sender: Slot, first: u64, others: &[(MemberId, Slot)]) -> MemberId {
        let nth = |n: usize, of: &[(MemberId, Slot)]| n.checked_rem(of.len()).map(|n| of[n].0);
        // Who was rolled back asks for its own messages.
        let whom = if self.members.get(sender).local && whom == Ask::Sender { Ask::Holder(0) } else { whom };
        let other = match whom {
            Ask::Sender => None,
            Ask::Anybody(n) => nth(n, others),
            Ask::Holder(n) => {
                let has = |slot| {
                    let stability = self.stability.as_ref()?;
                    Some(stability.acknowledged(slot, sender) >= first)
                };
                let holders: Vec<_> =
                    others.iter().copied().filter(|&(_, slot)| has(slot).unwrap_or(false)).collect();
                nth(n, if holders.is_empty() { others } else { &holders })
            }
        };
        other.unwrap_or_else(|| self.speaker(sender))
    }
}

//! Several hosts in one group: how another comes in, and what arrives of its members before that is known.
//!
//! A host is taken in by a *Hosted* that any other host says; the newcomer starts from the sponsor's snapshot of right
//! after that. Two sponsors at once are harmless: for an origin that is known, *Hosted* changes nothing. What the
//! newcomer and its members say may overtake the *Hosted*: it is held, as much of it as [`Config::early_max`] allows.

use crate::error::{MembershipError, ReceiveError, Unit};
use crate::group::Group;
use crate::id::{MemberId, MessageId};
use crate::members::IdStanding;
use crate::message::{Kind, Message};
use crate::time::Time;

#[cfg(doc)]
use crate::config::Config;

impl Group {
    /// The local host takes in the host of another origin, and says so (*Hosted*, with `payload` for whatever the
    /// application tells about it). `server` is a number for the application. Store what this changed, then take the
    /// [`snapshot`](Self::snapshot) for the newcomer, which makes its group of it with its host as a local member: one that
    /// starts from what its sponsor may forget again gives the same ids to other messages.
    ///
    /// # Errors
    /// [`MembershipError`]; nothing changed. An origin that has a host, or had one, is
    /// [`OriginTaken`](MembershipError::OriginTaken).
    pub fn sponsor(
        &mut self,
        now: Time,
        host: MemberId,
        origin: u32,
        server: u32,
        payload: &[u8],
    ) -> Result<MessageId, MembershipError> {
        self.local_host(host)?;
        if self.members.knows_origin(origin) {
            return Err(MembershipError::OriginTaken { origin });
        }
        Ok(self.say(now, host, Kind::Hosted { origin, server }, payload)?)
    }

    /// Applies a *Hosted* that has been delivered.
    pub(super) fn hosted(&mut self, now: Time, origin: u32, announced: MessageId) {
        if self.members.knows_origin(origin) {
            return;
        }
        self.members.set_next_ordinal(origin, 1);
        self.admitted(now, MemberId::host(origin), announced);
    }

    /// Returns whether somebody who is not known may be announced yet: its host is a member, or is to come itself.
    pub(super) fn can_be_admitted(&self, member: MemberId) -> bool {
        let hosted = !member.is_host() && self.is_member(MemberId::host(member.origin));
        hosted || (self.config.early_max > 0 && !self.members.knows_origin(member.origin))
    }

    /// Refuses a message of an origin that is not known if there are enough of these.
    pub(super) fn room_for_unknown(&self, message: &Message) -> Result<(), ReceiveError> {
        let id = message.id();
        if self.members.knows_origin(id.member.origin) {
            return Ok(());
        }
        let places = self.members.early_places();
        let taken = match self.members.standing(id.member) {
            IdStanding::Early(Some(slot)) => self.members.get(slot).ring.len() as u64,
            _ => 0,
        };
        let limit = self.config.early_max;
        if id.seq.saturating_sub(taken).saturating_add(places as u64) > limit as u64 {
            return Err(ReceiveError::HoldbackFull { limit, unit: Unit::EarlyMessages });
        }
        Ok(())
    }
}

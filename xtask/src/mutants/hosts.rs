//! Several hosts in one group: guards of coming, going elsewhere and parting with the destroyed.

use super::mutant::{Mutant, library};

pub(super) const HOSTS: &str = "crates/cbcast/src/group/hosts.rs";
const ROAM: &str = "crates/cbcast/src/group/roam.rs";
pub(super) const EXPEL: &str = "crates/cbcast/src/group/expel.rs";
const HOLDBACK: &str = "crates/cbcast/src/group/holdback.rs";
const CUT: &str = "crates/cbcast/src/cut.rs";
const PERSIST: &str = "crates/cbcast/src/persist.rs";
const MESSAGE: &str = "crates/cbcast/src/message.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    library(
        "a host that is known comes again",
        HOSTS,
        "if self.members.knows_origin(origin) {\n            return;",
        "if false {\n            return;",
    ),
    library(
        "an origin is given out twice",
        HOSTS,
        "if self.members.knows_origin(origin) {\n            return Err(MembershipError::OriginTaken",
        "if false {\n            return Err(MembershipError::OriginTaken",
    ),
    library(
        "what overtakes Hosted is refused for good",
        HOSTS,
        "hosted || (self.config.early_max > 0 && !self.members.knows_origin(member.origin))",
        "hosted",
    ),
    library(
        "strangers are held where no host is expected",
        HOSTS,
        "self.config.early_max > 0 && !self",
        "!self",
    ),
    library(
        "messages of unknown origins are held without bound",
        HOSTS,
        "if id.seq.saturating_sub(taken).saturating_add(places as u64) > limit as u64 {",
        "if false {",
    ),
    library(
        "of an unknown origin the gaps do not count",
        HOSTS,
        "id.seq.saturating_sub(taken).saturating_add(places as u64)",
        "places as u64 + 1",
    ),
    library(
        "a link speaks for a member that was never announced",
        HOLDBACK,
        "if matches!(link, Link::Member(_)) && !self.members.knows_origin(id.member.origin) {",
        "if false {",
    ),
    library(
        "whoever goes elsewhere lists its frontier only",
        ROAM,
        "            progress.in_frontier = true;\n            if !progress.listed {",
        "            if !progress.listed {",
    ),
    library(
        "the second part of a long list begins again",
        ROAM,
        "Some(member) > after",
        "Some(member) > after.filter(|_| false)",
    ),
    library(
        "what was on its way is in the past of what is said elsewhere",
        ROAM,
        "if taken < progress.delivered {",
        "if taken < progress.delivered && false {",
    ),
    library(
        "who speaks elsewhere speaks here as well",
        ROAM,
        "self.members.get_mut(slot).local = false;",
        "",
    ),
    library(
        "the records that a cut lacks begin one too late",
        CUT,
        "count.saturating_add(1)",
        "count.saturating_add(2)",
    ),
    library(
        "a cut lacks what the departed had said",
        CUT,
        "self.clock.includes(id) || (!self",
        "self.clock.includes(id) || (false && !self",
    ),
    library(
        "expelled before all have answered",
        EXPEL,
        "if let Some(server) = expulsion.unanswered().next() {",
        "if let Some(server) = expulsion.unanswered().next().filter(|_| false) {",
    ),
    library(
        "whoever is asked counts as having answered",
        EXPEL,
        "self.asked.entry(server).or_insert(false);",
        "self.asked.entry(server).or_insert(true);",
    ),
    library(
        "who is asked again has not answered any more",
        EXPEL,
        "self.asked.entry(server).or_insert(false);",
        "self.asked.insert(server, false);",
    ),
    library(
        "expelled before what others have is here",
        EXPEL,
        "ids.find(|&id| !self.has_delivered(id))",
        "ids.find(|&id| !self.has_delivered(id) && false)",
    ),
    library(
        "who has been through an expulsion freezes again",
        EXPEL,
        "if self.is_expelled(origin) {\n                return Err",
        "if false {\n                return Err",
    ),
    library(
        "origins that live here are frozen",
        EXPEL,
        "m.local && m.live && m.id.origin == origin",
        "m.local && m.live && m.id.origin == origin && false",
    ),
    library(
        "who has answered takes more",
        EXPEL,
        "self.members.get_mut(slot).frozen = Some(counts.get(member));",
        "let _ = (slot, member);",
    ),
    library(
        "an expulsion that was given up lets through what it had",
        EXPEL,
        "            self.frozen_origins.insert(origin, counts.iter().filter(|(m, _)| m.origin == origin).collect());",
        "            self.frozen_origins.entry(origin).or_insert_with(|| counts.iter().filter(|(m, _)| m.origin == origin).collect());",
    ),
    library(
        "who is announced by a frozen host may say anything",
        HOLDBACK,
        "self.members.get_mut(slot).frozen = Some(count);",
        "let _ = count;",
    ),
    library(
        "what Expelled counts stays frozen",
        EXPEL,
        "counts.iter().fold(false, |raised, (member, count)| self.may_go(now, member, count) || raised)",
        "counts.iter().fold(false, |raised, _| raised)",
    ),
    library(
        "what a Left counts that counts stays frozen",
        EXPEL,
        "Kind::Left { member, last_seq } => self.may_go(now, *member, *last_seq),",
        "Kind::Left { .. } => false,",
    ),
    library(
        "what is frozen itself lets others through",
        EXPEL,
        "_ if self.frozen_at(id.member).is_some_and(|count| id.seq > count) => false,",
        "",
    ),
    library(
        "an Expelled lets nothing through before it is delivered",
        HOLDBACK,
        "            self.has_arrived(now, &message);\n            self.release(now);\n",
        "",
    ),
    library("the expelled may come again", EXPEL, "self.members.set_next_ordinal(origin, u32::MAX);", ""),
    library(
        "what is held of the expelled who were never announced stays",
        EXPEL,
        "                self.forget_early(slot);\n",
        "                let _ = slot;\n",
    ),
    library(
        "after a restart nothing is frozen",
        PERSIST,
        "self.frozen_origins.clone_from(&particulars.frozen_origins);",
        "",
    ),
    library(
        "an emptied message has a payload",
        MESSAGE,
        "Self::Emptied { .. } if payload.is_empty() => true,",
        "Self::Emptied { .. } => true,",
    ),
    library("unknown flags are passed over", MESSAGE, "if flags & !LINKS != 0 {", "if false {"),
    library(
        "a host takes itself in",
        MESSAGE,
        "sender.is_host() && *origin != sender.origin",
        "sender.is_host()",
    ),
    library("a host expels itself", MESSAGE, "sender.is_host() && !counts.knows(sender)", "sender.is_host()"),
    library(
        "members are expelled without their host",
        MESSAGE,
        "if !member.is_host() && expelled != Some(member.origin) {",
        "if false {",
    ),
    library(
        "whom a host speaks of is not covered",
        MESSAGE,
        "kind => (kind, &self.packet[1..self.kind_and_payload().1]),",
        "kind => (kind, &self.packet[1..self.stamp.extra_at as usize]),",
    ),
];

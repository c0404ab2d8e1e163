//! The guards, and how each is weakened. Not listed is what can be weakened without any difference: see
//! [`EQUIVALENT`].

use super::mutant::{Mutant, Suite, library, server, session, store};
use super::{edge, hosts, trust};

const CONFIG: &str = "crates/cbcast/src/config.rs";
const GROUP: &str = "crates/cbcast/src/group.rs";
const HOLDBACK: &str = "crates/cbcast/src/group/holdback.rs";
const UPKEEP: &str = "crates/cbcast/src/group/upkeep.rs";
const DEPARTED: &str = "crates/cbcast/src/group/departed.rs";
const LOCALS: &str = "crates/cbcast/src/group/locals.rs";
const SKIP: &str = "crates/cbcast/src/group/skip.rs";
const JOURNAL: &str = "crates/cbcast/src/group/journal.rs";
const REQUESTS: &str = "crates/cbcast/src/group/requests.rs";
const FLUSH: &str = "crates/cbcast/src/group/flush.rs";
const INSPECT: &str = "crates/cbcast/src/group/inspect.rs";
const INDEX: &str = "crates/cbcast/src/index.rs";
const MEMBERS: &str = "crates/cbcast/src/members.rs";
const STABILITY: &str = "crates/cbcast/src/stability.rs";
const ROLLBACK: &str = "crates/cbcast/src/group/rollback.rs";
const TIMERS: &str = "crates/cbcast/src/group/timers.rs";
const RING: &str = "crates/cbcast/src/ring.rs";
const REPAIR: &str = "crates/cbcast/src/repair.rs";
const PERSIST: &str = "crates/cbcast/src/persist.rs";
const SNAPSHOT: &str = "crates/cbcast/src/snapshot.rs";
const CONTROL: &str = "crates/cbcast/src/control.rs";
const MESSAGE: &str = "crates/cbcast/src/message.rs";
const WIRE: &str = "crates/cbcast/src/wire.rs";
const SESSION: &str = "crates/causerie-core/src/session.rs";
const HANDSHAKE: &str = "crates/causerie-core/src/session/handshake.rs";
const OUTBOX: &str = "crates/causerie-core/src/session/outbox.rs";
const RECEIPTS: &str = "crates/causerie-core/src/session/receipts.rs";
const PLACING: &str = "crates/causerie-core/src/session/placing.rs";
const KEEP: &str = "crates/causerie-core/src/session/keep.rs";
const ROOM: &str = "crates/causerie-core/src/room.rs";
const ADMISSION: &str = "crates/causerie-core/src/room/admission.rs";
const ROSTER: &str = "crates/causerie-core/src/room/roster.rs";
const ONCE: &str = "crates/causerie-core/src/room/once.rs";
const BODY: &str = "crates/causerie-core/src/content/body.rs";
const STORE_RUN: &str = "crates/causerie-store/src/run.rs";
const STORE_COMMIT: &str = "crates/causerie-store/src/sqlite/commit.rs";
const STORE_MOVER: &str = "crates/causerie-store/src/sqlite/mover.rs";
const STORE_ROWS: &str = "crates/causerie-store/src/sqlite/rows.rs";
const STORE_LOAD: &str = "crates/causerie-store/src/sqlite/load.rs";
const STORE_SCHEMA: &str = "crates/causerie-store/src/sqlite/schema.rs";
const STORE_READ: &str = "crates/causerie-store/src/sqlite/read.rs";
const STORE_COPY: &str = "crates/causerie-store/src/sqlite/copy.rs";
const STORE_UPKEEP: &str = "crates/causerie-store/src/sqlite/upkeep.rs";
const STORE_PAGE: &str = "crates/causerie-store/src/page.rs";
const AGES: &str = "crates/causerie-server/src/rooms/ages.rs";
const HOSTED_ROOM: &str = "crates/causerie-server/src/rooms/hosted.rs";
const REOPEN: &str = "crates/causerie-server/src/rooms/reopen.rs";
const UNSTORED: &str = "crates/causerie-server/src/journal/unstored.rs";
const WRITER: &str = "crates/causerie-server/src/journal/writer.rs";
const ADDRESSES: &str = "crates/causerie-server/src/net/addresses.rs";
const SNIFF: &str = "crates/causerie-server/src/door/sniff.rs";
const IDLE: &str = "crates/causerie-server/src/rooms/idle.rs";
const DIRECTORY: &str = "crates/causerie-server/src/rooms/directory.rs";
const TAIL: &str = "crates/causerie-server/src/rooms/tail.rs";
const TURNS: &str = "crates/causerie-server/src/net/turns.rs";

/// What the table says about weakenings that no test can notice.
pub(super) const EQUIVALENT: &str = include_str!("equivalent.md");

/// By the part of the protocol that they belong to.
pub(super) const MUTANTS: &[(&str, &[Mutant])] = &[
    (
        "The delivery rule",
        &[
            Mutant {
                name: "deliver on arrival (processes)",
                file: HOLDBACK,
                from: "        let ahead = id.seq - delivered - 1;\n",
                to: "        let ahead = id.seq - delivered - 1;\n        if ahead < u64::MAX {\n            self.deliver(now, slot, message, None);\n            self.release(now);\n            return Ok(());\n        }\n",
                suite: Suite::Processes,
            },
            library(
                "deliver on arrival",
                HOLDBACK,
                "        let ahead = id.seq - delivered - 1;\n",
                "        let ahead = id.seq - delivered - 1;\n        if ahead < u64::MAX {\n            self.deliver(now, slot, message, None);\n            self.release(now);\n            return Ok(());\n        }\n",
            ),
            Mutant {
                name: "only sender order, dependencies ignored (processes)",
                file: MEMBERS,
                from: "_ => return Err(dep),",
                to: "_ => {}",
                suite: Suite::Processes,
            },
            library(
                "only sender order, dependencies ignored, at once",
                MEMBERS,
                "_ => return Err(dep),",
                "_ => {}",
            ),
            library(
                "only sender order, of few dependencies",
                HOLDBACK,
                "first_unmet = first_unmet.or(Some((dep, None)));",
                "let _ = dep;",
            ),
            library(
                "only sender order, of many dependencies",
                HOLDBACK,
                "first_unmet = first_unmet.or(Some((dep, Some(cursor))));",
                "let _ = dep;",
            ),
            library(
                "one message of a dependency may be missing, at once",
                MEMBERS,
                "if self.delivered(slot) >= dep.seq =>",
                "if self.delivered(slot) + 1 >= dep.seq =>",
            ),
            library(
                "one message of a dependency may be missing",
                HOLDBACK,
                "if dependency.seq <= self.members.delivered(slot) {",
                "if dependency.seq <= self.members.delivered(slot) + 1 {",
            ),
            library(
                "the sender's message before may be missing, at once",
                HOLDBACK,
                "id.seq != progress.delivered + 1 {",
                "id.seq > progress.delivered + 2 || id.seq <= progress.delivered {",
            ),
            library(
                "the sender's message before may be missing",
                HOLDBACK,
                "_ if ahead > 0 =>",
                "_ if ahead > 1 =>",
            ),
            library(
                "who has not joined is no cause, at once",
                MEMBERS,
                "            IdStanding::Forgotten => {}\n            _ => return Err",
                "            IdStanding::Forgotten | IdStanding::Early(_) => {}\n            _ => return Err",
            ),
            library(
                "who has not joined is no cause",
                HOLDBACK,
                "IdStanding::Early(_) => !self.can_be_admitted(dependency.member),",
                "IdStanding::Early(_) => return Ok(true),",
            ),
            library(
                "a forgotten dependency is not met, at once",
                MEMBERS,
                "            IdStanding::Forgotten => {}\n            _ => return Err",
                "            _ => return Err",
            ),
            library(
                "a forgotten dependency is not met",
                HOLDBACK,
                "IdStanding::Forgotten => return Ok(true),",
                "IdStanding::Forgotten => false,",
            ),
            library(
                "more dependencies than members",
                HOLDBACK,
                "if before >= limit {",
                "if before > limit {",
            ),
            library(
                "a dependency on what was not said here yet",
                HOLDBACK,
                "self.members.get(slot).local && matches!(link, Link::Member(_))\n            }",
                "false\n            }",
            ),
            library(
                "what is frozen is delivered on arrival",
                HOLDBACK,
                "let frozen = self.members.get(slot).frozen.is_some_and(|count| id.seq > count);",
                "let frozen = false;",
            ),
            library(
                "what is frozen is released",
                HOLDBACK,
                "if member.frozen.is_some_and(|count| seq > count) {",
                "if false {",
            ),
            library(
                "a link speaks for others, at once",
                HOLDBACK,
                "Link::Member(speaker) => speaker == id.member,",
                "Link::Member(_) => true,",
            ),
            library(
                "packets of any length are taken, at once",
                HOLDBACK,
                "let fits = message.packet().len() <= self.config.packet_bytes_max;",
                "let fits = true;",
            ),
            library(
                "announcements are delivered like data, at once",
                HOLDBACK,
                "!fits || !message.is_data() || !quiet",
                "!fits || !quiet",
            ),
            library(
                "what is delivered is not retained, at once",
                HOLDBACK,
                "            && self.stability.is_none()\n",
                "",
            ),
            library(
                "who is waited for is delivered like anybody, at once",
                HOLDBACK,
                "if !progress.plain || id.seq",
                "if id.seq",
            ),
        ],
    ),
    (
        "The frontier",
        &[
            library(
                "dependencies stay in the frontier",
                HOLDBACK,
                "progress.in_frontier &= progress.delivered != dep_seq;",
                "let _ = (progress, dep_seq);",
            ),
            library(
                "what follows a dependency leaves the frontier with it",
                HOLDBACK,
                "progress.in_frontier &= progress.delivered != dep_seq;",
                "progress.in_frontier &= dep_seq == u64::MAX;",
            ),
            library(
                "the newest is not in the frontier",
                HOLDBACK,
                "        progress.in_frontier = true;",
                "        progress.in_frontier &= true;",
            ),
        ],
    ),
    (
        "Waking",
        &[
            library(
                "who waits is not woken",
                MEMBERS,
                "progress.awaited > seq {",
                "progress.awaited >= seq {",
            ),
            library(
                "a sender's next is not looked at",
                HOLDBACK,
                "        if member.ring.next().is_some() {",
                "        if false {",
            ),
            library(
                "who is woken still waits",
                HOLDBACK,
                "            wait.on = NONE;",
                "            let _ = wait;",
            ),
            library(
                "who waits for the departed is not woken",
                HOLDBACK,
                "        self.wake_waiters(slot, u64::MAX);\n",
                "",
            ),
            library(
                "a newcomer's first message is not looked at",
                HOLDBACK,
                "if self.members.get(slot).ring.next().is_some() {",
                "if false {",
            ),
            library(
                "what others wait for of a newcomer is not asked for",
                HOLDBACK,
                "let (awaited, shown) = self.members.last_awaited(slot);",
                "let (awaited, shown) = (0, 0);",
            ),
        ],
    ),
    (
        "Configuring",
        &[
            library(
                "limits may be anything",
                CONFIG,
                "if value < least || value > most {",
                "if value > u64::MAX - least {",
            ),
            library(
                "a limit may be one less",
                CONFIG,
                "if value < least || value > most {",
                "if value + 1 < least || value > most {",
            ),
            library(
                "a limit may be one more",
                CONFIG,
                "if value < least || value > most {",
                "if value < least || value - 1 > most {",
            ),
            library("delays may be nothing", CONFIG, "filter(|&delay| delay < least)", "filter(|_| false)"),
            library(
                "long delays overflow",
                REPAIR,
                "self.delay.saturating_mul(1u32.checked_shl(target.requests).unwrap_or(u32::MAX))",
                "(self.delay * 1u32.checked_shl(target.requests).unwrap_or(u32::MAX))",
            ),
            library(
                "a snapshot may be of any size",
                GROUP,
                "        if listed > limit {\n",
                "        if listed > limit && limit == 0 {\n",
            ),
            library(
                "a snapshot may have one more",
                GROUP,
                "        if listed > limit {\n",
                "        if listed > limit + 1 {\n",
            ),
        ],
    ),
    (
        "Sending",
        &[
            library(
                "anybody may broadcast for a member",
                GROUP,
                "let slot = self.members.live_slot(from).filter(|&slot| self.members.get(slot).local);",
                "let slot = self.members.live_slot(from);",
            ),
            library("stamps without dependencies", GROUP, "deps.sort_unstable();", "deps.clear();"),
            library(
                "packets of any length are sent",
                GROUP,
                "if length > limit {",
                "if length > limit && kind != Kind::Data {",
            ),
            library(
                "one unstable message more than allowed",
                GROUP,
                "if messages >= self.config.unstable_max {",
                "if messages > self.config.unstable_max {",
            ),
            library(
                "the new message does not count among unstable bytes",
                GROUP,
                "bytes + length > self.config.unstable_bytes_max",
                "bytes > self.config.unstable_bytes_max",
            ),
            library(
                "announcements of hosts are blocked too",
                GROUP,
                "if is_data {\n            self.flow_control",
                "if kind != Kind::Joined(from) {\n            self.flow_control",
            ),
            library(
                "a readopted message may skip numbers",
                GROUP,
                "self.members.delivered(slot) + 1 == id.seq",
                "self.members.delivered(slot) < id.seq",
            ),
            library(
                "others' messages are readopted",
                GROUP,
                "let slot = self.members.live_slot(id.member).filter(|&slot| self.members.get(slot).local);",
                "let slot = self.members.live_slot(id.member);",
            ),
        ],
    ),
    (
        "Receiving",
        &[
            library(
                "a link speaks for others",
                HOLDBACK,
                "if id.member != speaker {",
                "if id.member != speaker && false {",
            ),
            library(
                "a member's link announces members",
                HOLDBACK,
                "if !message.is_data() {\n                return Err",
                "if !message.is_data() && false {\n                return Err",
            ),
            library(
                "copies are delivered again",
                HOLDBACK,
                "if id.seq <= delivered {",
                "if id.seq < delivered {",
            ),
            library(
                "copies of held messages are held again",
                HOLDBACK,
                "if member.ring.get(ahead).is_some() {",
                "if false {",
            ),
            library(
                "copies of messages held early are held again",
                HOLDBACK,
                "if self.members.get(slot).ring.get(ahead).is_some() {",
                "if false {",
            ),
            library(
                "the departed are heard again",
                HOLDBACK,
                "            IdStanding::Forgotten => {\n                self.stats.duplicates += 1;\n                return Ok(());\n            }",
                "            IdStanding::Forgotten => return self.hold_early(now, link, message),",
            ),
            library(
                "own messages are taken from others",
                HOLDBACK,
                "if is_local && matches!(link, Link::Member(_)) {",
                "if false {",
            ),
            library(
                "ordinals that were not given out here are held",
                HOLDBACK,
                "if self.admits_for(id.member.origin) {",
                "if false {",
            ),
            library(
                "senders whom nobody can admit are held",
                HOLDBACK,
                "if !self.can_be_admitted(id.member) {",
                "if false {",
            ),
            library(
                "a host that is not a member may yet be admitted",
                hosts::HOSTS,
                "!member.is_host() && self.is_member(MemberId::host(member.origin))",
                "member.is_host() || self.is_member(MemberId::host(member.origin))",
            ),
            library(
                "dependencies on whom nobody can admit are believed",
                HOLDBACK,
                "IdStanding::Early(_) => !self.can_be_admitted(dependency.member),",
                "IdStanding::Early(_) => false,",
            ),
            library(
                "what is heard of through here only may be known before",
                HOLDBACK,
                "let through_here = matches!(link, Link::Member(_)) && self.admits_for(dependency.member.origin);",
                "let through_here = false;",
            ),
            library(
                "one message further ahead than allowed",
                HOLDBACK,
                "if ahead > limit {",
                "if ahead > limit + 1 {",
            ),
            library(
                "gaps in the hold-back queue cost nothing",
                HOLDBACK,
                "if self.holdback_places + more > limit {",
                "if self.held + more.min(1) > limit {",
            ),
            library(
                "one place more than the hold-back queue has",
                HOLDBACK,
                "if self.holdback_places + more > limit {",
                "if self.holdback_places + more > limit + 1 {",
            ),
            library(
                "the new message does not count among held bytes",
                HOLDBACK,
                "if self.held_bytes + message.packet().len() > limit {",
                "if self.held_bytes > limit {",
            ),
            library(
                "one member may fill the queue",
                HOLDBACK,
                "if held + message.packet().len() > limit {",
                "if false {",
            ),
            library(
                "what of a member was held counts for ever",
                RING,
                "        self.bytes -= held.packet.len();\n",
                "",
            ),
            library(
                "what is held keeps the buffer that it came in",
                HOLDBACK,
                "true => message.detached().into_parts(),",
                "true => message.into_parts(),",
            ),
            library(
                "what is retained keeps the buffer that it came in",
                HOLDBACK,
                "if self.config.copies_kept && !was_held { message.detached() } else { message.clone() };",
                "message.clone();",
            ),
            library(
                "a full queue does not hear of what it refuses",
                HOLDBACK,
                "if room.is_err() {",
                "if matches!(room, Err(ReceiveError::TooFarAhead { .. })) {",
            ),
            library(
                "who is too far ahead is not heard of",
                HOLDBACK,
                "if room.is_err() {",
                "if matches!(room, Err(ReceiveError::HoldbackFull { .. })) {",
            ),
            library(
                "what is shown beyond the limit is forgotten",
                HOLDBACK,
                "member.shown = member.shown.max(seq.min(COUNT_MAX));",
                "member.shown = member.shown.max(seq.min(delivered));",
            ),
            library(
                "who catches up does not hear of what comes behind",
                HOLDBACK,
                "let heard = self.hear_on(slot);",
                "let heard = self.members.heard(slot);",
            ),
            library(
                "claims of what exists are believed without bound",
                HOLDBACK,
                "let seq = seq.min(self.horizon(delivered));",
                "let seq = seq.min(COUNT_MAX);",
            ),
        ],
    ),
    (
        "Members",
        &[
            library(
                "the host admits one too many",
                GROUP,
                "if self.members.live() >= self.config.members_max {",
                "if self.members.live() > self.config.members_max {",
            ),
            library(
                "a guest admits",
                GROUP,
                "let local = host.is_host() && self.is_local(host);",
                "let local = self.is_local(host);",
            ),
            library(
                "who found no room is told that it has left",
                DEPARTED,
                "if self.overfull || self",
                "if self",
            ),
            library(
                "who does not host here admits",
                GROUP,
                "let local = host.is_host() && self.is_local(host);",
                "let local = host.is_host();",
            ),
            library(
                "a host parts with another's members",
                GROUP,
                "slot.filter(|_| member.origin == host.origin && member != host)",
                "slot.filter(|_| member != host)",
            ),
            library(
                "a host parts with itself",
                GROUP,
                "slot.filter(|_| member.origin == host.origin && member != host)",
                "slot.filter(|_| member.origin == host.origin)",
            ),
            library(
                "a Joined is believed however full the group is",
                HOLDBACK,
                "let full = self.members.live() >= limit;",
                "let full = false;",
            ),
            library(
                "a Joined may leave ordinals out",
                HOLDBACK,
                "self.members.next_ordinal(member.origin) != member.ordinal",
                "self.members.next_ordinal(member.origin) > member.ordinal",
            ),
            library(
                "an ordinal is given out twice",
                HOLDBACK,
                "self.members.next_ordinal(member.origin) != member.ordinal",
                "self.members.next_ordinal(member.origin) < member.ordinal",
            ),
            library(
                "the departed are not forgotten",
                HOLDBACK,
                "                    self.forget(slot, id, given_up);\n",
                "",
            ),
            library(
                "what is missing of the departed stays missing",
                HOLDBACK,
                "        if self.members.heard(slot) > self.members.delivered(slot) {\n            self.lagging -= 1;\n        }",
                "",
            ),
        ],
    ),
    (
        "Finding members",
        &[
            library(
                "who is crowded out is not found",
                INDEX,
                "None => self.crowded.get(&id).copied().unwrap_or(NONE),",
                "None => NONE,",
            ),
            library(
                "a place where nobody is hides a member",
                INDEX,
                "entry.id == id && entry.slot != NONE;",
                "entry.id == id;",
            ),
            library(
                "who is in a refuge is taken out of it and stays",
                INDEX,
                "Some(place) => self.entries[place] = nobody(place),",
                "Some(_) => {}",
            ),
            library(
                "the last ordinal is given out again",
                HOLDBACK,
                "let last = member.ordinal == u32::MAX;",
                "let last = false;",
            ),
        ],
    ),
    (
        "Snapshots",
        &[
            library(
                "a snapshot counts one message less",
                INSPECT,
                "clock: self.clock(),",
                "clock: self.clock().iter().map(|(m, n)| (m, n.saturating_sub(1))).collect(),",
            ),
            library(
                "a snapshot does not say who has left",
                INSPECT,
                "next_ordinals: self.members.next_ordinals(),",
                "next_ordinals: Vec::new(),",
            ),
            library(
                "a snapshot without its frontier",
                INSPECT,
                "frontier: self.frontier(),",
                "frontier: Vec::new(),",
            ),
            library(
                "a frontier beyond the cut is believed",
                GROUP,
                "id.seq > 0 && id.seq <= members.delivered(slot)",
                "id.seq > 0",
            ),
            library(
                "counts beyond all bounds are read",
                SNAPSHOT,
                "if clock.iter().any(|(_, count)| count > COUNT_MAX) {",
                "if false {",
            ),
            library(
                "origins in any order are read",
                SNAPSHOT,
                "if !next_ordinals.is_sorted_by(|a, b| a.0 < b.0) {",
                "if false {",
            ),
            library(
                "a frontier in any order is read",
                SNAPSHOT,
                "if !frontier.is_sorted_by(|a, b| a.member < b.member) {",
                "if false {",
            ),
            library(
                "snapshots of other versions are read",
                SNAPSHOT,
                "if reader.byte()? != VERSION {",
                "if reader.byte()? < VERSION {",
            ),
        ],
    ),
    (
        "Repair",
        &[
            library(
                "a clock over a link counts for others",
                UPKEEP,
                "Link::Member(speaker) => speaker == member,",
                "Link::Member(_) => true,",
            ),
            library(
                "others know better what was said here",
                UPKEEP,
                "                && theirs\n                && !(matches!(link, Link::Member(_)) && self.members.get(slot).local)",
                "                && theirs",
            ),
            library(
                "ranges are sorted, not by use",
                INSPECT,
                "_ if range.from == first => &mut next,",
                "_ if range.from < first => &mut next,",
            ),
            library(
                "hosts' messages have no places of their own",
                INSPECT,
                "ranges_max.saturating_sub(of_hosts.len().min(ranges_max / 2))",
                "ranges_max",
            ),
            library(
                "more ranges than a request may name",
                INSPECT,
                "        next.truncate(ranges_max);\n        next\n",
                "        next\n",
            ),
            library(
                "each request begins with the same member",
                REQUESTS,
                "due.sort_unstable();",
                "due.sort_unstable_by_key(|&(_, id, _)| id);",
            ),
            library(
                "what was left out of a request is asked for before all others again and again",
                REPAIR,
                "target.due = Some(now + self.delay);\n    }\n\n    /// Nothing is missing",
                "target.due = Some(now);\n    }\n\n    /// Nothing is missing",
            ),
            library("pauses do not grow", REPAIR, "1u32.checked_shl(target.requests)", "Some(2)"),
            library("pauses grow without bound", REPAIR, "doubled.min(self.delay_max)", "doubled"),
            library(
                "jitter of the whole pause",
                REPAIR,
                "self.draw() % quarter",
                "self.draw() % (4 * quarter)",
            ),
            library(
                "no jitter",
                REPAIR,
                "Duration::from_nanos(self.draw() % quarter)",
                "Duration::from_nanos(quarter / 2)",
            ),
            library("at first anybody is asked", REPAIR, "0 => Ask::Sender,", "0 => Ask::Anybody(turn),"),
            library(
                "only who has acknowledged is ever asked",
                REPAIR,
                "_ => Ask::Anybody(turn),",
                "_ => Ask::Holder(turn),",
            ),
            library(
                "one other is asked again and again",
                REPAIR,
                "self.start.wrapping_add(cycle / 2 * (CYCLE - 1) + place)",
                "self.start",
            ),
            library("two are asked from the first", REPAIR, "u32::from(self.requests >= DOUBLED_FROM)", "1"),
            library("one is asked, however often", REPAIR, "u32::from(self.requests >= DOUBLED_FROM)", "0"),
            library(
                "pauses stay long after progress",
                HOLDBACK,
                "            member.lagging_since = now;\n            self.repair.begin(&mut member.repair, now);\n        }\n        if member.ring.next()",
                "            member.lagging_since = now;\n        }\n        if member.ring.next()",
            ),
            library(
                "pauses stay long after all has come",
                REPAIR,
                "        *target = Target::default();\n",
                "        target.due = None;\n",
            ),
            library("every arrival puts the request off", REPAIR, "if target.due.is_none() {", "{"),
            library(
                "a clock that shows nothing ends the pause",
                UPKEEP,
                "if count > self.members.delivered(slot) {",
                "{",
            ),
            library(
                "a clock asks again before there can be an answer",
                REPAIR,
                "_ => target.asked_at + self.delay,",
                "_ => now,",
            ),
            library(
                "a clock that shows who has it changes nothing",
                REPAIR,
                "if target.due.is_some_and(|due| due > soon.max(now)) {",
                "if false {",
            ),
            library(
                "it is asked before it is due",
                REPAIR,
                "deadline <= now",
                "deadline >= Time::ZERO && now >= Time::ZERO",
            ),
            library("who has not got it is asked too", REQUESTS, "if holders.is_empty() {", "if true {"),
            library(
                "who is about to leave is asked",
                REQUESTS,
                "m.live && !m.local && m.frozen.is_none()",
                "m.live && !m.local",
            ),
            library("an answer is as long as the request", UPKEEP, "                budget -= 1;\n", ""),
            library(
                "what does not exist uses up the answer",
                UPKEEP,
                "Some(slot) if seq > self.members.delivered(slot) => break,",
                "Some(slot) if seq > self.members.delivered(slot) => None,",
            ),
            library(
                "a packet that was changed is taken",
                CONTROL,
                "if checksum[..] != crc32fast::hash(&bytes).to_le_bytes() {",
                "if checksum.is_empty() {",
            ),
            library(
                "requests overflow",
                CONTROL,
                "from.checked_add(more).ok_or(WireError::Integer)?",
                "from.wrapping_add(more)",
            ),
        ],
    ),
    (
        "Stability",
        &[
            library(
                "stable is what anybody has delivered",
                STABILITY,
                "acknowledged.clone().fold(own, u64::min)",
                "acknowledged.clone().fold(0, u64::max).min(own)",
            ),
            library(
                "stable without what was delivered here",
                STABILITY,
                "column.stable + column.retained.len() as u64);",
                "column.stable + column.retained.len() as u64 + 1);",
            ),
            library(
                "a clock that comes late takes acknowledgements back",
                STABILITY,
                "if count > old {",
                "if count != old {",
            ),
            library(
                "a newcomer acknowledges nothing of what is stable",
                STABILITY,
                "unwrap_or(0).max(stable)",
                "unwrap_or(0).max(stable & 0)",
            ),
            library(
                "a slot's next member inherits acknowledgements",
                STABILITY,
                "                *count = 0;\n",
                "                *count += 0;\n",
            ),
            library(
                "the departed hold stability up",
                STABILITY,
                "if let Some(row) = self.rows.get_mut(slot as usize).and_then(Option::take)",
                "if let Some(row) = self.rows.get_mut(slot as usize).and_then(|row| row.clone())",
            ),
            library(
                "what the departed said is let go with them",
                STABILITY,
                "if !column.retained.is_empty() || given_up {",
                "if false {",
            ),
            library(
                "what the departed said is let go too early",
                STABILITY,
                "self.departed.retain(|departed| !is_stable(departed.left));",
                "self.departed.retain(|departed| is_stable(departed.left));",
            ),
            library(
                "what the departed said is kept for ever",
                STABILITY,
                "self.departed.retain(|departed| !is_stable(departed.left));",
                "let _ = is_stable;",
            ),
            library(
                "who is ahead of us acknowledges for whom we do not know",
                UPKEEP,
                "if clock.iter().any(ahead) {",
                "if false && clock.iter().any(ahead) {",
            ),
            library(
                "members hosted here must acknowledge",
                GROUP,
                "            stability.speaks_here(slot);\n",
                "            let _ = stability;\n",
            ),
            library(
                "what a snapshot holds is unstable",
                GROUP,
                "stability.add(slot, members.delivered(slot), !member.local);",
                "stability.add(slot, 0, !member.local);",
            ),
        ],
    ),
    (
        "Several members in a process",
        &[
            library(
                "a clock acknowledges for one alone",
                LOCALS,
                "m.live && m.lives_with == Some(speaker)",
                "m.live && m.lives_with == Some(speaker) && false",
            ),
            library(
                "who has a link of its own lives with whom others say",
                LOCALS,
                "if !local && !has_own_link &&",
                "if !local &&",
            ),
            library(
                "who has a link of its own goes on living with another",
                LOCALS,
                "(member.has_own_link, member.lives_with) = (true, None);",
                "let _ = member;",
            ),
            library(
                "a relay tells who lives there",
                LOCALS,
                "if self.config.topology != Topology::Mesh {",
                "if false {",
            ),
            library(
                "each member of a process is asked what it has of the leaver",
                FLUSH,
                "stay.map(|(slot, _)| self.speaker(slot)).collect();",
                "stay.map(|(_, m)| m.id).collect();",
            ),
            library(
                "somebody is asked who has no link",
                REQUESTS,
                "live.map(|(slot, _)| (self.speaker(slot), slot)).collect();",
                "live.map(|(slot, m)| (m.id, slot)).collect();",
            ),
            library(
                "the sender is asked though it has no link",
                REQUESTS,
                "other.unwrap_or_else(|| self.speaker(sender))",
                "other.unwrap_or(self.members.get(sender).id)",
            ),
            library(
                "who is about to leave speaks on",
                GROUP,
                "if is_data && self.members.get(slot).frozen.is_some() {",
                "if false {",
            ),
        ],
    ),
    (
        "Skipping",
        &[
            library("hosts' messages are skipped", SKIP, "m.live && !m.id.is_host() &&", "m.live &&"),
            library(
                "skipped too early",
                SKIP,
                "now.since(m.lagging_since) >= after",
                "now.since(m.lagging_since) >= after / 4",
            ),
            library(
                "skipped before it was asked for",
                SKIP,
                "m.repair.requests >= REQUESTS_LEAST",
                "m.repair.requests < u32::MAX",
            ),
            library(
                "skipped before a request can have been answered",
                SKIP,
                "may_be && m.repair.is_due(now) &&",
                "may_be &&",
            ),
            library(
                "a mere claim is skipped",
                SKIP,
                "self.members.heard(slot).min(member.shown)",
                "self.members.heard(slot)",
            ),
            library(
                "who speaks over a link of its own shows what it claims",
                HOLDBACK,
                "            self.members.get_mut(slot).direct = true;\n",
                "",
            ),
            library(
                "what a held message depends on is shown by who speaks for itself",
                HOLDBACK,
                "            shows = !self.members.get(slot).direct;",
                "            shows = true;",
            ),
            library(
                "what a held message waits for is shown by who speaks for itself",
                HOLDBACK,
                "let shows = !self.members.get(slot).direct;",
                "let shows = true;",
            ),
            library(
                "what is awaited of a newcomer is shown by who speaks for itself",
                MEMBERS,
                "if self.get(waiter).direct { 0 } else { seq }",
                "seq",
            ),
            library(
                "what is shown after a mere claim is taken for one",
                HOLDBACK,
                "|| (self.mere_claims && shown) {",
                "{",
            ),
            library(
                "an export forgets who speaks for itself",
                PERSIST,
                "group.members.get_mut(slot).direct = true;",
                "group.members.get_mut(slot).direct = false;",
            ),
            library(
                "what is held is skipped with what is missing",
                SKIP,
                "let count = if missing == member.ring.len() as u64 { beyond_ring } else { missing };",
                "let count = beyond_ring;\n            let _ = missing;",
            ),
            library(
                "what follows a gap is not looked at",
                SKIP,
                "        if next_is_here {",
                "        if next_is_here && false {",
            ),
            library("who waits for what was skipped is not woken", SKIP, "self.wake_waiters(slot, to);", ""),
            library(
                "a skipped message stands in stamps",
                SKIP,
                "if core::mem::take(&mut progress.in_frontier) {",
                "if false {",
            ),
            library(
                "who follows a skipped message follows those before it",
                SKIP,
                "!deps.contains(passed)",
                "!deps.iter().any(|dep| dep.0 == passed.0 && dep.1 >= passed.1)",
            ),
            library(
                "the message before a skipped one is never followed",
                HOLDBACK,
                "&& self.passed.is_empty()",
                "",
            ),
            library(
                "the departed stay in the frontier if what they said last was skipped",
                HOLDBACK,
                "        self.passed.retain(|&(passed, _)| passed != slot);\n",
                "",
            ),
            library(
                "a snapshot forgets the message before a skipped one",
                GROUP,
                "passed.push((slot, id.seq));",
                "let _ = &mut passed;",
            ),
            library(
                "who goes on behind skipped messages of its own depends on itself",
                GROUP,
                "self.passed().filter(|passed| passed.member != from)",
                "self.passed()",
            ),
            library(
                "what a skipped message may have followed is said not to be followed",
                INSPECT,
                "all_known &= !self.was_skipped(id);",
                "",
            ),
            library(
                "what the host has given up goes missing in silence",
                HOLDBACK,
                "let given_up = self.give_up_with(slot, last_seq);",
                "let given_up = last_seq > u64::MAX - 1;",
            ),
            library(
                "skipped messages do not count as delivered for stability",
                SKIP,
                "stability.delivered(slot, None);",
                "let _ = stability;",
            ),
        ],
    ),
    (
        "What is not stored yet",
        &[
            library(
                "messages are sent before they are stored",
                GROUP,
                "        if self.journal.is_none() {\n            self.transmit(",
                "        if true {\n            self.transmit(",
            ),
            library(
                "what is not stored is acknowledged",
                UPKEEP,
                "Control::Clock(self.acknowledged())",
                "Control::Clock(self.clock())",
            ),
            library(
                "what is not stored here is stable",
                STABILITY,
                "if self.durable { column.persisted.min(delivered) } else { delivered };",
                "delivered;",
            ),
            library(
                "a flush is told of before it is stored",
                JOURNAL,
                "        match &mut self.journal {\n            None => self.tell(to, control),",
                "        match &mut None::<ChangeJournal> {\n            None => self.tell(to, control),",
            ),
            library(
                "who asks is sent what is not stored",
                UPKEEP,
                "Some(slot) if self.is_unpersisted_own(slot, seq) => break,",
                "Some(_) if false => break,",
            ),
            library("a journal has no end", JOURNAL, "journal.len() >= limit", "journal.len() == usize::MAX"),
            library("deliveries at once are not in the journal", HOLDBACK, "&& self.journal.is_none();", ";"),
            library(
                "replaying forgets who is to leave and who is frozen",
                JOURNAL,
                "            self.set_particulars(&particulars)?;\n            self.set_leaving(particulars)?;\n",
                "            let _ = particulars;\n",
            ),
            library(
                "replaying forgets who lives here",
                JOURNAL,
                "&& then.locals.contains(&member)",
                "&& then.locals.is_empty()",
            ),
            library(
                "changes that do not follow are replayed",
                JOURNAL,
                "if self.members.delivered(slot) + 1 != id.seq || self.read_deps(&message).is_err() {",
                "if false {",
            ),
            library(
                "what was replayed is not known to be stored",
                JOURNAL,
                "        self.all_is_persisted();\n        self.release",
                "        self.release",
            ),
        ],
    ),
    (
        "Going back to an older state",
        &[
            library(
                "what others have does not stop who went back",
                HOLDBACK,
                "            self.rolled_back(slot, seq);\n",
                "            let _ = slot;\n",
            ),
            library(
                "own messages from others prove nothing",
                HOLDBACK,
                "            self.hear(now, slot, id.seq, true);\n        }\n        if !message",
                "        }\n        if !message",
            ),
            library(
                "numbers are given a second time",
                ROLLBACK,
                "Some(rollback) => Err(BroadcastError::RolledBack { member, seq: rollback.proven }),",
                "Some(_) => Ok(()),",
            ),
            library(
                "who went back goes on without its own messages",
                ROLLBACK,
                "if last < to {",
                "if last < to.min(last) {",
            ),
            library(
                "who went back does not count what its relay has taken",
                ROLLBACK,
                "let to = taken.max(self.rollbacks[place].proven);",
                "let to = self.rollbacks[place].proven;",
            ),
            library(
                "a member of a mesh that went back goes on",
                ROLLBACK,
                "Topology::Mesh => return Err(RollbackError::Mesh { member }),",
                "Topology::Mesh => {}",
            ),
            library(
                "a relay forgets that it holds the next message of who comes back",
                HOLDBACK,
                "self.members.delivered(slot) + kept as u64",
                "self.members.delivered(slot)",
            ),
            library(
                "a relay's host goes on",
                ROLLBACK,
                "Topology::Relay if member.is_host() => return Err(RollbackError::Host { member }),\n",
                "",
            ),
            library(
                "who asks for what was let go is not told",
                UPKEEP,
                "if range.from <= stable {",
                "if false {",
            ),
            library(
                "that something was let go is told again and again",
                ROLLBACK,
                "if count > delivered.max(self.members.get(slot).let_go) {",
                "if count > delivered {",
            ),
            library(
                "who went back asks itself",
                REQUESTS,
                "if self.members.get(sender).local && whom == Ask::Sender { Ask::Holder(0) } else { whom };",
                "whom;",
            ),
            library(
                "an import has forgotten that it was rolled back",
                PERSIST,
                "Rollback { member, proven }).collect();",
                "Rollback { member, proven }).take(0).collect();",
            ),
        ],
    ),
    (
        "Having left",
        &[
            library(
                "the departed are dropped like copies",
                HOLDBACK,
                "IdStanding::Forgotten if self.answer_departed(link) == Some(id.member) => {",
                "IdStanding::Forgotten if false => {",
            ),
            library(
                "who passes on what the departed said is refused",
                DEPARTED,
                "self.overfull || self.members.standing(speaker) != IdStanding::Forgotten {",
                "self.overfull {",
            ),
            library(
                "having left is answered by having left",
                UPKEEP,
                "if !matches!(control, Control::Clock(_) | Control::Departed { .. }) {",
                "if !matches!(control, Control::Clock(_)) {",
            ),
            library(
                "clocks of the departed are not answered",
                UPKEEP,
                "        self.answer_departed(link);\n        for",
                "        for",
            ),
            library(
                "clients and others say who has left here",
                DEPARTED,
                "if matches!(link, Link::Member(_)) || !self.is_local(member) || self.admits_for(member.origin) {",
                "if false {",
            ),
            library(
                "the departed do not ask for their Left",
                DEPARTED,
                "            self.hear(now, host, count, true);\n",
                "            let _ = (now, host, count);\n",
            ),
            library(
                "the departed go on saying things",
                ROLLBACK,
                "if self.departed.contains(&member) {",
                "if false {",
            ),
            library(
                "a deserted process goes on with its heartbeat",
                UPKEEP,
                "self.config.heartbeat.filter(|_| !self.is_deserted());",
                "self.config.heartbeat;",
            ),
        ],
    ),
    (
        "Leaving by flush",
        &[
            library(
                "parting is at once in a mesh",
                GROUP,
                "match self.config.topology {",
                "match Topology::Relay {",
            ),
            library("a farewell that can never be said is taken", FLUSH, "if length > limit {", "if false {"),
            library(
                "anybody freezes anybody",
                FLUSH,
                "if member.is_host() || host != MemberId::host(member.origin) || self.is_local(host) {\n",
                "if member.is_host() {\n",
            ),
            library(
                "a host is frozen for good",
                FLUSH,
                "if member.is_host() || host != MemberId::host(member.origin) || self.is_local(host) {\n",
                "if host != MemberId::host(member.origin) || self.is_local(host) {\n",
            ),
            library(
                "a late request freezes again",
                FLUSH,
                "if number < *known || number == *known && frozen.is_none() {",
                "if false {",
            ),
            library(
                "reports of an earlier flush count",
                FLUSH,
                "if number != self.flush_number(member) {",
                "if false {",
            ),
            library(
                "anybody calls off a flush",
                FLUSH,
                "if host != MemberId::host(member.origin) || self.is_local(host) {\n            return;\n        }\n        let Some(slot)",
                "if false {\n            return;\n        }\n        let Some(slot)",
            ),
            library(
                "who stays after all is not asked",
                FLUSH,
                "// It stays, so its reports on the others who leave count.\n        for flush in 0..self.flushes.len() {",
                "for flush in 0..0 {",
            ),
            library(
                "a clock that is put back makes things due later",
                TIMERS,
                "if now < self.latest {",
                "if false {",
            ),
            library(
                "who starts again under another clock waits for the old time",
                PERSIST,
                "group.latest = now;",
                "let _ = now;",
            ),
            library(
                "a Left that is too far ahead is not asked for",
                FLUSH,
                "if frozen { heard.max(member.shown) } else { heard }",
                "heard.max(if frozen { heard } else { 0 })",
            ),
            library(
                "a Left that is too far ahead is not asked for in time",
                FLUSH,
                "if self.wanted_up_to(host) > self.members.heard(host) {",
                "if false {",
            ),
            library(
                "a report is taken for the answer of who knows that it is called off",
                FLUSH,
                "            self.next_flush_number(slot);\n            self.thaw(slot);\n",
                "            self.thaw(slot);\n",
            ),
            library(
                "that a flush is called off is told once",
                UPKEEP,
                "            self.tell_called_off();\n",
                "",
            ),
            library(
                "less is reported than was delivered",
                FLUSH,
                "self.frozen_up_to(now, slot, count.max(self.members.delivered(slot)));",
                "self.frozen_up_to(now, slot, count);",
            ),
            library(
                "a Left does not let through what it counts",
                hosts::EXPEL,
                "self.exists_and_may_go(now, member, last_seq);",
                "let _ = (member, last_seq);",
            ),
            library(
                "what is frozen is let through by less",
                FLUSH,
                "*frozen = count.max(*frozen);",
                "*frozen = count;",
            ),
            library(
                "one report is enough",
                FLUSH,
                "stay.iter().all(|member|",
                "stay.is_empty() || stay.iter().any(|member|",
            ),
            library(
                "a Left before the host has what others have",
                FLUSH,
                "is_some_and(|&(_, count)| count <= delivered)",
                "is_some_and(|&(_, count)| count <= delivered || delivered < u64::MAX)",
            ),
            library(
                "a Left before all have reported on all who leave",
                FLUSH,
                "if !self.flushes.iter().all(done) {",
                "if !self.flushes.iter().any(done) {",
            ),
            library(
                "reports of who leaves count",
                FLUSH,
                "m.live && !m.local && m.frozen.is_none()",
                "m.live && !m.local",
            ),
            library(
                "what only who leaves had is let through with the Left",
                FLUSH,
                "self.members.get_mut(slot).frozen = Some(self.members.delivered(slot));",
                "let _ = slot;",
            ),
            library(
                "who leaves is not asked for again",
                UPKEEP,
                "                self.ask_to_flush(flush);",
                "                let _ = flush;",
            ),
        ],
    ),
    ("Several hosts", hosts::MUTANTS),
    ("Trust in servers", trust::MUTANTS),
    ("Encryption, proxies, lockdown", edge::MUTANTS),
    (
        "Export and import",
        &[
            library(
                "an export forgets what waits to be sent",
                PERSIST,
                "if !self.outputs.is_empty() {",
                "if false {",
            ),
            library(
                "an import has not heard of what is missing",
                PERSIST,
                "            group.hear(now, slot, count, true);",
                "            let _ = (slot, count);",
            ),
            library(
                "an import has frozen nobody",
                PERSIST,
                "self.members.get_mut(slot).frozen = Some(count);",
                "let _ = (slot, count);",
            ),
            library(
                "an import does not know since when messages are held",
                PERSIST,
                "let since = Time::from_nanos(reader.varint()?);",
                "let since = Time::from_nanos(reader.varint()? & 0);",
            ),
            library(
                "an import takes as held what can be delivered",
                PERSIST,
                "if taken.is_err() || group.held as u64 != n + 1 {",
                "let _ = n;\n            if taken.is_err() {",
            ),
            library(
                "an import retains nothing",
                PERSIST,
                "|message| stability.delivered(slot, message)",
                "|_| stability.delivered(slot, None)",
            ),
            library(
                "an import has forgotten what the departed said",
                PERSIST,
                "stability.set_departed(departed);",
                "",
            ),
            library(
                "an import has forgotten who is to leave",
                PERSIST,
                "self.flushes = particulars.flushes;",
                "",
            ),
            library(
                "an import's frontier may be followed",
                PERSIST,
                "if stability.all_retained().any(|message| message.deps().any(followed)) {",
                "if stability.all_retained().any(|message| message.deps().any(followed)) && false {",
            ),
            library(
                "how long a message was held is not counted",
                HOLDBACK,
                "self.holds.count(now.as_nanos().saturating_sub(held.since.as_nanos()));",
                "",
            ),
            library(
                "an import parts with anybody",
                PERSIST,
                "if !fits || !host.is_host() || !self.is_local(*host) {",
                "if false {",
            ),
            library(
                "an import freezes hosts",
                PERSIST,
                "if particulars.frozen.iter().any(|(id, _)| id.is_host() && !with_origin(id)) {",
                "if false {",
            ),
            library(
                "more is stable than was delivered",
                PERSIST,
                "filter(|&delivered| count <= delivered)",
                "filter(|_| count > 0 || count == 0)",
            ),
            library(
                "messages that nobody asked for are imported",
                PERSIST,
                "if message.as_ref().is_some_and(|message| message.id() != MessageId::new(id, seq)) {",
                "let _ = seq;\n                if false {",
            ),
        ],
    ),
    (
        "Decoding",
        &[
            library(
                "integers in any form",
                WIRE,
                "return if byte == 0 { Err(WireError::Integer) } else { Ok(value) };",
                "return Ok(value);",
            ),
            library(
                "integers beyond 64 bits",
                WIRE,
                "if shift == 63 && byte > 1 {",
                "if shift == 63 && byte > 127 {",
            ),
            library(
                "messages number 0",
                MESSAGE,
                "        let id = MessageId::new(sender, reader.varint()?);\n        if id.seq == 0 {",
                "        let id = MessageId::new(sender, reader.varint()?);\n        if false {",
            ),
            library(
                "kinds that nobody knows",
                MESSAGE,
                "kind => return Err(DecodeError::UnknownKind(kind)),",
                "_ => Self::Data,",
            ),
            library("a dependency on the sender", MESSAGE, "if member == id.member {", "if false {"),
            library(
                "dependencies on message 0",
                MESSAGE,
                "let seq = seq.filter(|&s| s > 0).ok_or",
                "let seq = seq.ok_or",
            ),
            library(
                "origins in any order",
                MESSAGE,
                "if origin == id.member.origin || (!first && origin <= self.origin) {",
                "if origin == id.member.origin {",
            ),
            library(
                "the sender's origin among the others",
                MESSAGE,
                "if origin == id.member.origin || (!first && origin <= self.origin) {",
                "if !first && origin <= self.origin {",
            ),
            library(
                "a guest announces",
                MESSAGE,
                "=> sender.is_host() && !member.is_host(),",
                "=> !member.is_host(),",
            ),
            library(
                "a host is announced",
                MESSAGE,
                "=> sender.is_host() && !member.is_host(),",
                "=> sender.is_host(),",
            ),
            library(
                "messages number 0, at once",
                MESSAGE,
                "if seq == 0 || seq > COUNT_MAX",
                "if seq > COUNT_MAX",
            ),
            library(
                "a dependency on the sender, at once",
                MESSAGE,
                "|| ordinal == sender || seq as i64",
                "|| seq as i64",
            ),
            library(
                "dependencies on message 0, at once",
                MESSAGE,
                "i64::from(difference) <= 0 {",
                "i64::from(difference) < 0 {",
            ),
        ],
    ),
    (
        "The chat",
        &[
            session(
                "what is wanted is sent before the connection is let in",
                SESSION,
                "ServerFrame::Want(ranges) if phase == Phase::Live =>",
                "ServerFrame::Want(ranges) =>",
            ),
            session(
                "what was unsent is said and not kept",
                HANDSHAKE,
                "self.unkept |= !unsent.is_empty();",
                "",
            ),
            session(
                "own messages are not sent again on resuming",
                OUTBOX,
                "filter(|p| p.message.id().seq > taken)",
                "filter(|p| p.message.id().seq > taken + 1)",
            ),
            session(
                "what waits for an earlier position is not waited with",
                PLACING,
                "if at > position {",
                "if at == Position::MAX {",
            ),
            session(
                "what was taken is said again under the new membership",
                OUTBOX,
                "if id.seq <= taken {",
                "if id.seq < taken {",
            ),
            session(
                "what was told and not shown before a kill is not told again",
                RECEIPTS,
                "self.retold.remove(&id)",
                "self.retold.remove(&id) && self.retold.is_empty()",
            ),
            session(
                "what a kept session has missed may be lost on a bad link",
                SESSION,
                "ServerFrame::Delivered(_) if self.recovery.catch_up.is_open() => false,",
                "",
            ),
            session(
                "the place is kept that the application has not got to",
                KEEP,
                "put_varint(&mut out, self.taken().get());",
                "put_varint(&mut out, self.placement.placed().get());",
            ),
            session(
                "what is to be told again counts as placed",
                KEEP,
                "filter(|(_, id, _)| !retold.contains(id))",
                "filter(|_| true)",
            ),
            session(
                "what refers to a renamed message is not renamed",
                HANDSHAKE,
                "replacements.insert(old, Some(new));",
                "let _ = new;",
            ),
            session(
                "any token resumes",
                ROSTER,
                "(Some(person), _) if person.pass.as_ref().is_some_and(|pass| has(pass.secrets)) => Ok(()),",
                "(Some(person), _) if person.pass.is_some() => Ok(()),",
            ),
            session(
                "any token learns what was taken of who has left",
                ROSTER,
                "(None, Some(departed)) if departed.secrets.is_some_and(has) => {",
                "(None, Some(departed)) if departed.secrets.is_some() => {",
            ),
            session(
                "who stamps its own messages may let the room speak for it, and the other way round",
                ADMISSION,
                "matches!(secrets, Secrets::Bearer { token, .. } if token == given)",
                "matches!(secrets, Secrets::Bearer { token, .. } | Secrets::Key(token) if token == given)",
            ),
            session(
                "the proof of any key is enough",
                ADMISSION,
                "|secrets| secrets == Secrets::Key(key)",
                "|secrets| matches!(secrets, Secrets::Key(_))",
            ),
            server(
                "a key that is not proven counts",
                "crates/causerie-server/src/gateways/native/answer.rs",
                "|challenge| proof.holds(purpose, challenge)",
                "|challenge| proof.holds(purpose, challenge) || true",
            ),
            session(
                "who knows more than the room resumes",
                ADMISSION,
                "position > last || clock.iter().any(knows_more)",
                "position > last || (false && clock.iter().any(knows_more))",
            ),
            session(
                "an older connection still speaks",
                ROSTER,
                "pass.is_some_and(|pass| pass.connection == seat.connection)",
                "pass.is_some()",
            ),
            session(
                "targets are not looked at",
                ROOM,
                "Some(target) if !before(target) =>",
                "Some(target) if false && !before(target) =>",
            ),
            session(
                "anybody edits anything",
                BODY,
                "if target.member != author => {",
                "if false && target.member != author => {",
            ),
            session(
                "said once is said again",
                ROOM,
                "SaidBefore::Said(said) => return Ok(SaysOnce::Said { said, is_new: false }),",
                "SaidBefore::Said(_) => {}",
            ),
            session(
                "the store is not asked again after others were forgotten",
                ROOM,
                "if asked != Some(forgotten) =>",
                "if asked.is_none() =>",
            ),
            session(
                "who was here before the start has said nothing yet",
                ONCE,
                "self.known.contains(&member) && !",
                "!",
            ),
            session("what was forgotten was never said", ONCE, "            self.filter(&oldest);\n", ""),
            session(
                "filters that are full know those who were there before",
                ONCE,
                "(self.filters, self.known) = (Vec::new(), BTreeSet::new());",
                "self.filters = Vec::new();",
            ),
        ],
    ),
    (
        "Stored, then shown",
        &[
            server(
                "nothing is stored",
                WRITER,
                "self.store.commit(changes.clone())",
                "self.store.commit(Vec::new())",
            ),
            server(
                "what waits to be stored is shown",
                WRITER,
                "        let mut full = false;\n",
                "        for (room, batch) in &mut batches {\n            let records = batch.records.take();\n            room.has_stored(causerie_core::room::Batch { records, ..Default::default() });\n        }\n        let mut full = false;\n",
            ),
            server(
                "what waits to be stored counts as stored",
                WRITER,
                "        let mut full = false;\n",
                "        for (room, batch) in &batches {\n            room.has_stored(causerie_core::room::Batch { changes: batch.changes, ..Default::default() });\n        }\n        let mut full = false;\n",
            ),
            server(
                "WebSockets are told at once that it is stored",
                UNSTORED,
                "        if self.is_stored() { Ok(self.value) }",
                "        if true { Ok(self.value) }",
            ),
            server(
                "who waits for the store is told at once",
                UNSTORED,
                "wait_for(|stored| *stored >= self.changes)",
                "wait_for(|_| true)",
            ),
            server(
                "IRC clients are answered before it is stored",
                UNSTORED,
                "            debt.stored().await;\n",
                "            drop(debt);\n",
            ),
            store(
                "what is damaged is served",
                STORE_RUN,
                "is_some_and(|f| crc32c::crc32c(f) == entry.crc)",
                "is_some_and(|f| crc32c::crc32c(f) == entry.crc || !f.is_empty())",
            ),
            store(
                "commits are not synced",
                STORE_COMMIT,
                "        self.sync(true)?;\n        self.transaction(|db| {\n            let mut next_room",
                "        self.sync(false)?;\n        self.transaction(|db| {\n            let mut next_room",
            ),
            store(
                "positions may be skipped",
                STORE_COMMIT,
                "if *first != last + 1 {",
                "if *first < last + 1 {",
            ),
            store(
                "writing goes on after a failed sync",
                STORE_COMMIT,
                "            Trouble::Sync => {\n                self.fail(&error);",
                "            Trouble::Sync => {",
            ),
            store(
                "staged rows go before their blocks are there",
                STORE_MOVER,
                "if rooms.is_empty() {\n            blocks.settle()",
                "if rooms.len() < 2 {\n            blocks.settle()",
            ),
            store(
                "staged rows go before their blocks are synced",
                STORE_MOVER,
                "            blocks.settle()?;\n            let mut state",
                "            let mut state",
            ),
            store(
                "staged rows go before it is noted how far their rooms have come",
                STORE_MOVER,
                "        let noted = !settled.ends.is_empty();\n",
                "        let noted = !settled.ends.is_empty() && ends.is_empty();\n",
            ),
            store(
                "blocks of one file go before they are synced in the other",
                STORE_MOVER,
                "            blocks.settle()?;\n            Ok(true)",
                "            Ok(true)",
            ),
            store(
                "what was moved and is still staged is staged again",
                STORE_LOAD,
                "if run.last() <= ends.moved || run.last() <= ends.last || run.directory.entries.is_empty() {",
                "if run.directory.entries.is_empty() {",
            ),
            store(
                "a record that is staged and moved is read twice",
                STORE_READ,
                "        if slot.position <= page.last {\n            continue;",
                "        if slot.position < page.first {\n            continue;",
            ),
            store(
                "a backup copies the blocks first",
                STORE_COPY,
                "        copy_file(db, &part)?;\n        between();\n        if let Some(blocks) = blocks {\n            copy_file(blocks, &blocks_part)?;\n",
                "        blocks.map_or(Ok(()), |blocks| copy_file(blocks, &blocks_part))?;\n        between();\n        copy_file(db, &part)?;\n        if blocks.is_some() {\n",
            ),
            store(
                "a copy has more in its blocks than it knows of",
                STORE_COPY,
                "        cut_blocks(&tx, RoomId(room as u64), last.copied().unwrap_or_default())?;\n",
                "",
            ),
            store(
                "the blocks of another store are opened",
                STORE_SCHEMA,
                "        store if store == rows::meta(blocks, \"store\")? => Ok(()),\n",
                "        store if store == rows::meta(blocks, \"store\")? || dir.is_dir() => Ok(()),\n",
            ),
            store(
                "blocks that are gone are made anew",
                STORE_SCHEMA,
                "let may_be_made = rows::meta(db, \"moved\")?.is_none();",
                "let may_be_made = rows::meta(db, \"moved\")?.is_none() || dir.is_dir();",
            ),
            store(
                "members' rows are not checked",
                STORE_ROWS,
                "fields().ok().filter(|(_, sum, crc)| sum == crc)",
                "fields().ok()",
            ),
            store(
                "checkpoints are not checked",
                STORE_ROWS,
                "fields().ok().filter(|(position, crc, state)| checkpoint_crc(room, *position, state) == *crc)",
                "fields().ok()",
            ),
            store(
                "marks outlive their records",
                STORE_UPKEEP,
                "Ok(rows::delete_marks(db, room, first)? | inner",
                "Ok(false | inner",
            ),
            store(
                "marks outlive what was cut",
                STORE_LOAD,
                "\"DELETE FROM mark WHERE room = ?1 AND position > ?2\"",
                "\"DELETE FROM mark WHERE room = ?1 AND position > ?2 AND 0\"",
            ),
            store(
                "what others stored behind it hides a lost end",
                STORE_LOAD,
                "            known.clear();\n",
                "",
            ),
            store(
                "a lost end is forgotten with its batch",
                STORE_LOAD,
                "\"INSERT OR REPLACE INTO cut VALUES (?1)\"",
                "\"INSERT OR REPLACE INTO cut SELECT ?1 WHERE 0\"",
            ),
            store(
                "a database with triggers is opened",
                STORE_SCHEMA,
                "            refuse_foreign(&db, found, dir)?;\n",
                "            let _ = refuse_foreign(&db, found, dir);\n",
            ),
            store(
                "an older store is not copied before it is changed",
                STORE_SCHEMA,
                "if options.copy_before_upgrade {",
                "if options.copy_before_upgrade && found == 0 {",
            ),
            store(
                "an emptied store is a new one",
                STORE_SCHEMA,
                "        None if was_used() => ",
                "        None if was_used() && path.is_dir() => ",
            ),
            store(
                "a time to come keeps all before it",
                STORE_PAGE,
                "if time > self.now {",
                "if time == u64::MAX {",
            ),
            server(
                "messages go by age right after the start",
                AGES,
                "monotonic - self.steady_since >= SETTLE_MILLIS",
                "monotonic >= self.steady_since",
            ),
            server(
                "who joins while the disk fills stays unanswered",
                HOSTED_ROOM,
                "            self.act(|room, now| room.part(now, member, &why.to_string())).told_by_its_record();\n",
                "            let _ = (member, why);\n",
            ),
            server(
                "rooms whose end is lost do not begin anew",
                REOPEN,
                "        _ if found.cut => ",
                "        _ if found.cut && found.last == Position::MAX => ",
            ),
        ],
    ),
    (
        "One address does not take it all",
        &[
            server(
                "connections of one address have no limit",
                ADDRESSES,
                "let is_full = limits.connections > 0",
                "let is_full = limits.connections == usize::MAX",
            ),
            server(
                "what is said costs nothing",
                ADDRESSES,
                "let taken = self.address.used().messages.take(Instant::now(), rate, some);",
                "let taken = Bucket::default().take(Instant::now(), rate, some);",
            ),
            server(
                "joining costs nothing",
                ADDRESSES,
                "let taken = self.address.used().joins.take(Instant::now(), rate, 1);",
                "let taken = Bucket::default().take(Instant::now(), rate, 1);",
            ),
            server(
                "each host of a network of IPv6 is one of its own",
                ADDRESSES,
                "(u128::from(address) >> 64 << 64)",
                "u128::from(address)",
            ),
            server(
                "one address may make all rooms",
                DIRECTORY,
                "if own_max > 0 && own >= own_max {",
                "if own_max > 0 && own > rooms_max {",
            ),
            server(
                "ports have no limit of their own",
                DIRECTORY,
                "if has_port && with_ports >= ports_max {",
                "if has_port && with_ports > rooms_max {",
            ),
            server(
                "a web page speaks to ports for lines",
                SNIFF,
                "(Beginning::Speaks(Protocol::Http), Some(_)) => Beginning::Misdirected,",
                "(Beginning::Speaks(Protocol::Http), Some(own)) => Beginning::Speaks(own),",
            ),
            server(
                "the clock is believed at once",
                AGES,
                "(ran >= BELIEVED_AFTER).then_some(now.wall_millis)",
                "Some(now.wall_millis)",
            ),
            server(
                "a clock that was set is believed",
                AGES,
                "            self.0 = Some(now);\n            return None;\n",
                "",
            ),
            server(
                "the log's pieces are kept though nobody is to read them",
                TAIL,
                "first.is_none_or(|first| piece.last <= *first)",
                "false",
            ),
            server(
                "long answers wait for no turn",
                TURNS,
                "if !given.is_much() {",
                "if !given.is_much() || true {",
            ),
            server(
                "rooms go while somebody is in",
                IDLE,
                "if is_empty && quiet >= limit {",
                "if quiet >= limit {",
            ),
        ],
    ),
];

//! Who has an IRC connection: nicks, and what others are told of whoever has one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use causerie_core::content::name::Name;
use causerie_core::content::reading::Reading;
use causerie_core::id::Position;
use causerie_gateway::irc::{Move, MoveKind, PersonView};
use cbcast::MemberId;
use tokio::sync::Notify;

use super::host::HostKey;
use crate::rooms::hosted::HostedRoom;

/// People of whom something is kept that a client has not read.
const NEWS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct People {
    /// Those with a nick, by its folded form; whoever is about to change it, by both. Taken before any
    /// [`IrcPerson`]'s own lock.
    all: Mutex<BTreeMap<String, Holder>>,
    /// By the numbers of the two, the lower one first. Taken before any room's lock, and before `all`.
    conversations: Mutex<BTreeMap<(u64, u64), Arc<Conversation>>>,
    /// The number of who comes next.
    next: AtomicU64,
    /// The number of the next move.
    next_move: AtomicU64,
    key: HostKey,
}

/// Holder of a nick.
struct Holder {
    nick: Name,
    reading: Reading,
    person: Arc<IrcPerson>,
}

/// Two people in a room of their own, or one who talks to itself.
pub(super) struct Conversation {
    pub(super) hosted: Arc<HostedRoom>,
    /// Position behind the joining of both.
    pub(super) position: Position,
    /// The two: who began it, and the other one.
    sides: [(Arc<IrcPerson>, MemberId); 2],
}

impl Conversation {
    pub(super) fn was_begun_by(&self, person: &Arc<IrcPerson>) -> bool {
        Arc::ptr_eq(&self.sides[0].0, person)
    }

    /// Returns as whom somebody is in it, and who is the other one.
    pub(super) fn seen_by(&self, person: &Arc<IrcPerson>) -> (MemberId, &Arc<IrcPerson>) {
        let [(one, as_one), (other, as_other)] = &self.sides;
        if Arc::ptr_eq(one, person) { (*as_one, other) } else { (*as_other, one) }
    }
}

/// One connection.
#[derive(Default)]
pub(super) struct IrcPerson {
    number: u64,
    state: Mutex<PersonState>,
    /// Notified when there is news.
    pub(super) stirred: Notify,
}

#[derive(Default)]
pub(super) struct PersonState {
    pub(super) view: PersonView,
    pub(super) is_registered: bool,
    pub(super) wants_news: bool,
    /// The rooms that it is in, by number: as whom, and what they are called.
    pub(super) rooms: BTreeMap<u64, (MemberId, String)>,
    /// Conversations that others have begun with it, and it has not seen yet.
    addressed: Vec<Arc<Conversation>>,
    /// News of others, by how they are shown: only the latest counts.
    news: BTreeMap<String, PersonNews>,
    /// Number of those for which there was no room, as the client does not read.
    news_lost: usize,
    /// Invitations: who has invited it, as it is shown, and into which channel.
    invitations: BTreeSet<(String, String)>,
}

/// Invitations that may wait for one person.
const INVITATIONS_MAX: usize = 32;

/// Changes of somebody.
#[derive(Clone, Default)]
pub(super) struct PersonNews {
    pub(super) away: Option<Option<String>>,
    pub(super) realname: Option<String>,
}

impl IrcPerson {
    pub(super) fn state(&self) -> MutexGuard<'_, PersonState> {
        self.state.lock().expect("nothing panics while holding it")
    }

    pub(super) fn view(&self) -> PersonView {
        let state = self.state();
        let rooms = state.rooms.values().map(|(_, name)| name.clone()).collect();
        PersonView { rooms, ..state.view.clone() }
    }

    pub(super) fn nick(&self) -> String {
        self.state().view.nick.clone()
    }

    pub(super) fn host(&self) -> String {
        self.state().view.host.clone()
    }

    /// User and host, as others are shown them.
    pub(super) fn mask(&self) -> Arc<str> {
        self.state().view.mask().into()
    }

    pub(super) fn take_addressed(&self) -> Vec<Arc<Conversation>> {
        std::mem::take(&mut self.state().addressed)
    }

    pub(super) fn take_invitations(&self) -> BTreeSet<(String, String)> {
        std::mem::take(&mut self.state().invitations)
    }

    /// Takes what has changed of others, and how often that was too much to be kept.
    pub(super) fn take_news(&self) -> (BTreeMap<String, PersonNews>, usize) {
        let state = &mut *self.state();
        (std::mem::take(&mut state.news), std::mem::take(&mut state.news_lost))
    }
}

impl People {
    fn conversations(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), Arc<Conversation>>> {
        self.conversations.lock().expect("nothing panics while holding it")
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Holder>> {
        self.all.lock().expect("nothing panics while holding it")
    }

    /// Returns who has that nick, letter case aside.
    fn goes_by(&self, nick: &str) -> Option<Arc<IrcPerson>> {
        self.all().get(&nick.to_lowercase()).map(|holder| Arc::clone(&holder.person))
    }

    /// Adds somebody who has no nick yet, from that address.
    pub(super) fn begin(&self, address: IpAddr, now: u64) -> Arc<IrcPerson> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let host = self.key.host(address);
        let view = PersonView { host, came: now, spoke: now, ..PersonView::default() };
        Arc::new(IrcPerson {
            number,
            state: Mutex::new(PersonState { view, ..PersonState::default() }),
            ..IrcPerson::default()
        })
    }

    /// Begins what whoever has that nick does in all its rooms.
    pub(super) fn begin_move(&self, nick: &str, kind: MoveKind) -> Arc<Move> {
        let number = self.next_move.fetch_add(1, Ordering::Relaxed);
        Arc::new(Move { number, nick: nick.to_owned(), kind })
    }

    /// Invites who has that nick; `false` if too many invitations wait for it.
    pub(super) fn invite(&self, person: &IrcPerson, nick: &str, channel: &str) -> bool {
        let source = person.state().view.source();
        let Some(invited) = self.goes_by(nick) else { return true };
        let mut state = invited.state();
        let may = state.invitations.len() < INVITATIONS_MAX;
        if may {
            state.invitations.insert((source, channel.to_owned()));
            invited.stirred.notify_one();
        }
        may
    }

    /// Keeps that nick, which reads so, for it, beside the one that it has. An error is the nick of another that reads the
    /// same.
    pub(super) fn claim(&self, person: &Arc<IrcPerson>, nick: &Name, reading: &Reading) -> Result<(), Name> {
        let mut all = self.all();
        let mut others = all.values().filter(|holder| !Arc::ptr_eq(&holder.person, person));
        if let Some(other) = others.find(|holder| holder.reading.same_as(reading)) {
            return Err(other.nick.clone());
        }
        let holder = Holder { nick: nick.clone(), reading: reading.clone(), person: Arc::clone(person) };
        all.insert(nick.folded(), holder);
        Ok(())
    }

    /// Has it go from now on by that nick alone, which it has claimed.
    pub(super) fn adopt(&self, person: &Arc<IrcPerson>, nick: &Name) {
        let kept = nick.folded();
        self.all().retain(|nick, other| *nick == kept || !Arc::ptr_eq(&other.person, person));
        person.state().view.nick = nick.to_string();
    }

    /// Gives back a nick that it has claimed, unless it goes by one that is the same.
    pub(super) fn disclaim(&self, person: &Arc<IrcPerson>, nick: &Name) {
        let (given_back, kept) = (nick.folded(), person.nick().to_lowercase());
        if given_back != kept {
            self.all().retain(|nick, other| *nick != given_back || !Arc::ptr_eq(&other.person, person));
        }
    }

    /// It has no nick any more; the conversations that it was in and has not left.
    pub(super) fn forget(&self, person: &Arc<IrcPerson>) -> Vec<Arc<Conversation>> {
        self.all().retain(|_, other| !Arc::ptr_eq(&other.person, person));
        // Nobody finds it from now on; who has found it already has finished once this lock is had.
        let mut conversations = self.conversations();
        let with = |(one, two): &&(u64, u64)| [*one, *two].contains(&person.number);
        let keys: Vec<_> = conversations.keys().filter(with).copied().collect();
        keys.iter().filter_map(|key| conversations.remove(key)).collect()
    }

    pub(super) fn named(&self, nick: &str) -> Option<PersonView> {
        let found = self.goes_by(nick)?;
        let is_registered = found.state().is_registered;
        is_registered.then(|| found.view())
    }

    /// The conversation of this person with who has that nick, begun by `begin` if there is none: in a room of its own,
    /// as which members, and the position behind their joining. `None`: nobody has that nick.
    pub(super) fn converse<E>(
        &self,
        person: &Arc<IrcPerson>,
        nick: &str,
        begin: impl FnOnce(&Arc<IrcPerson>) -> Result<(Arc<HostedRoom>, [MemberId; 2], Position), E>,
    ) -> Result<Option<Arc<Conversation>>, E> {
        let mut conversations = self.conversations();
        let Some(other) = self.goes_by(nick) else { return Ok(None) };
        let key = (person.number.min(other.number), person.number.max(other.number));
        if let Some(conversation) = conversations.get(&key) {
            return Ok(Some(Arc::clone(conversation)));
        }
        let (hosted, [one, two], position) = begin(&other)?;
        let sides = [(Arc::clone(person), one), (Arc::clone(&other), two)];
        let conversation = Arc::new(Conversation { hosted, position, sides });
        conversations.insert(key, Arc::clone(&conversation));
        other.state().addressed.push(Arc::clone(&conversation));
        other.stirred.notify_one();
        Ok(Some(conversation))
    }

    /// Ends a conversation: who meets again does so in another room.
    pub(super) fn end_conversation(&self, room: &Arc<HostedRoom>) {
        self.conversations().retain(|_, conversation| !Arc::ptr_eq(&conversation.hosted, room));
    }

    /// Returns who that member of that room is, if it came by IRC.
    pub(super) fn member(&self, room: u64, member: MemberId, name: &str) -> Option<PersonView> {
        let found = self.goes_by(name)?;
        let is_it = found.state().rooms.get(&room).is_some_and(|(other, _)| *other == member);
        is_it.then(|| found.view())
    }

    pub(super) fn count(&self) -> usize {
        // By the nick that it goes by: it may have claimed another.
        let goes_by = |nick: &str, state: &PersonState| state.view.nick.to_lowercase() == nick;
        let registered = |(nick, holder): &(&String, &Holder)| {
            let state = holder.person.state();
            state.is_registered && goes_by(nick, &state)
        };
        self.all().iter().filter(registered).count()
    }

    /// Tells those who share a room with it and want to know.
    pub(super) fn tell(&self, person: &Arc<IrcPerson>, news: &PersonNews) {
        let all = self.all();
        let (source, rooms) = {
            let state = person.state();
            (state.view.source(), state.rooms.keys().copied().collect::<Vec<_>>())
        };
        let people = all.values().map(|holder| &holder.person);
        for other in people.filter(|other| !Arc::ptr_eq(other, person)) {
            let mut state = other.state();
            if !state.wants_news || !rooms.iter().any(|room| state.rooms.contains_key(room)) {
                continue;
            }
            if state.news.len() >= NEWS_MAX && !state.news.contains_key(&source) {
                state.news_lost += 1;
                continue;
            }
            let told = state.news.entry(source.clone()).or_default();
            if news.away.is_some() {
                told.away.clone_from(&news.away);
            }
            if news.realname.is_some() {
                told.realname.clone_from(&news.realname);
            }
            drop(state);
            other.stirred.notify_one();
        }
    }
}

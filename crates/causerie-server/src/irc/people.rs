//! Who has an IRC connection: nicks, and what others are told of whoever has one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use causerie_core::irc::PersonView;
use causerie_core::text::Name;
use cbcast::MemberId;
use tokio::sync::Notify;

/// Those with a nick, by its folded form. Taken before any [`Person`]'s own lock.
#[derive(Default)]
pub(crate) struct People(Mutex<BTreeMap<String, Arc<Person>>>);

/// One connection.
#[derive(Default)]
pub(super) struct Person {
    state: Mutex<State>,
    /// There is news.
    pub(super) stirred: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) view: PersonView,
    pub(super) is_registered: bool,
    pub(super) wants_news: bool,
    /// The rooms that it is in, by number: as whom, and what they are called.
    pub(super) rooms: BTreeMap<u64, (MemberId, String)>,
    /// Of others, by nick: only the latest counts.
    news: BTreeMap<String, News>,
}

/// What has changed of somebody.
#[derive(Clone, Default)]
pub(super) struct News {
    pub(super) away: Option<Option<String>>,
    pub(super) realname: Option<String>,
}

impl Person {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding it")
    }

    pub(super) fn view(&self) -> PersonView {
        let state = self.state();
        let rooms = state.rooms.values().map(|(_, name)| name.clone()).collect();
        PersonView { rooms, ..state.view.clone() }
    }

    pub(super) fn take_news(&self) -> BTreeMap<String, News> {
        std::mem::take(&mut self.state().news)
    }
}

impl People {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Person>>> {
        self.0.lock().expect("nothing panics while holding it")
    }

    /// From now on it goes by that nick; `false` if another has it.
    pub(super) fn claim(&self, person: &Arc<Person>, nick: &Name) -> bool {
        let mut all = self.all();
        if all.get(&nick.folded()).is_some_and(|other| !Arc::ptr_eq(other, person)) {
            return false;
        }
        all.retain(|_, other| !Arc::ptr_eq(other, person));
        all.insert(nick.folded(), Arc::clone(person));
        person.state().view.nick = nick.to_string();
        true
    }

    pub(super) fn forget(&self, person: &Arc<Person>) {
        self.all().retain(|_, other| !Arc::ptr_eq(other, person));
    }

    pub(super) fn named(&self, nick: &str) -> Option<PersonView> {
        let found = self.all().get(&nick.to_lowercase()).cloned()?;
        let is_registered = found.state().is_registered;
        is_registered.then(|| found.view())
    }

    /// Who that member of that room is, if it came by IRC.
    pub(super) fn member(&self, room: u64, member: MemberId, name: &str) -> Option<PersonView> {
        let found = self.all().get(&name.to_lowercase()).cloned()?;
        let is_it = found.state().rooms.get(&room).is_some_and(|(other, _)| *other == member);
        is_it.then(|| found.view())
    }

    pub(super) fn count(&self) -> usize {
        self.all().values().filter(|person| person.state().is_registered).count()
    }

    /// Tells those who share a room with it and want to know.
    pub(super) fn tell(&self, person: &Arc<Person>, news: &News) {
        let all = self.all();
        let (nick, rooms) = {
            let state = person.state();
            (state.view.nick.clone(), state.rooms.keys().copied().collect::<Vec<_>>())
        };
        for other in all.values().filter(|other| !Arc::ptr_eq(other, person)) {
            let mut state = other.state();
            if !state.wants_news || !rooms.iter().any(|room| state.rooms.contains_key(room)) {
                continue;
            }
            let told = state.news.entry(nick.clone()).or_default();
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

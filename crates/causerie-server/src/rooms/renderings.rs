//! Renderings of the end of a room's log: one a kind, kept with the room, known to those alone who make them.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// A rendering, whatever its kind.
trait Kept: Any + Send + Sync {
    /// Returns whether something has panicked while it held it.
    fn is_poisoned(&self) -> bool;
}

impl<T: Send + 'static> Kept for Mutex<T> {
    fn is_poisoned(&self) -> bool {
        Self::is_poisoned(self)
    }
}

/// The renderings of one room.
#[derive(Default)]
pub(crate) struct Renderings(Mutex<Vec<Arc<dyn Kept>>>);

impl Renderings {
    /// Returns the rendering of that kind, which is empty at first.
    pub(crate) fn of<T: Default + Send + 'static>(&self) -> Arc<Mutex<T>> {
        let mut all = self.0.lock().expect("nothing panics while holding it");
        let found = all.iter().find_map(|kept| {
            let kept: Arc<dyn Any + Send + Sync> = Arc::clone(kept) as _;
            kept.downcast::<Mutex<T>>().ok()
        });
        found.unwrap_or_else(|| {
            let made = Arc::<Mutex<T>>::default();
            all.push(Arc::clone(&made) as _);
            made
        })
    }

    /// Returns whether something has panicked while it held one of them.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|kept| kept.is_poisoned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_each_kind() {
        let renderings = Renderings::default();
        renderings.of::<Vec<u8>>().lock().unwrap().push(7);
        renderings.of::<String>().lock().unwrap().push('x');
        assert_eq!(*renderings.of::<Vec<u8>>().lock().unwrap(), [7]);
        assert_eq!(*renderings.of::<String>().lock().unwrap(), "x");
        assert!(!renderings.is_poisoned());
        let one = renderings.of::<String>();
        let panicked = std::thread::spawn(move || {
            let _held = one.lock().unwrap();
            panic!("this is meant");
        });
        assert!(panicked.join().is_err());
        assert!(renderings.is_poisoned());
    }
}

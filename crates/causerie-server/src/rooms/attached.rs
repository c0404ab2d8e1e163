//! Things that gateways keep with a room: one of each kind, known to those alone who made it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// A thing of any kind.
trait Attachment: Any + Send + Sync {
    /// Returns whether something has panicked while it held it.
    fn is_poisoned(&self) -> bool;
}

impl<T: Send + 'static> Attachment for Mutex<T> {
    fn is_poisoned(&self) -> bool {
        Self::is_poisoned(self)
    }
}

/// The things of one room.
#[derive(Default)]
pub(crate) struct Attached(Mutex<Vec<Arc<dyn Attachment>>>);

impl Attached {
    /// Returns the one of that kind, which is empty at first.
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
        let attached = Attached::default();
        attached.of::<Vec<u8>>().lock().unwrap().push(7);
        attached.of::<String>().lock().unwrap().push('x');
        assert_eq!(*attached.of::<Vec<u8>>().lock().unwrap(), [7]);
        assert_eq!(*attached.of::<String>().lock().unwrap(), "x");
        assert!(!attached.is_poisoned());
        let one = attached.of::<String>();
        let panicked = std::thread::spawn(move || {
            let _held = one.lock().unwrap();
            panic!("this is meant");
        });
        assert!(panicked.join().is_err());
        assert!(attached.is_poisoned());
    }
}

//! Renderings that all who want one share. Gateways make them; the room keeps them, and need not know what they are.

use std::any::Any;
use std::sync::{Arc, Mutex};

/// Renderings of each kind that are kept of one thing: clients of IRC choose among very many. Further ones are made for each
/// reader.
const RENDERINGS_MAX: usize = 12;

/// The renderings of one thing.
#[derive(Default)]
pub(crate) struct Renderings(Mutex<Vec<Arc<dyn Any + Send + Sync>>>);

impl Renderings {
    /// Returns the rendering of a kind that fits, made if none is kept.
    pub(crate) fn get<R: Send + Sync + 'static>(
        &self,
        fits: impl Fn(&R) -> bool,
        make: impl FnOnce() -> R,
    ) -> Arc<R> {
        let mut renderings = self.0.lock().expect("nothing panics while holding it");
        let found = renderings.iter().filter_map(|rendering| Arc::clone(rendering).downcast::<R>().ok());
        if let Some(found) = found.into_iter().find(|rendering| fits(rendering)) {
            return found;
        }
        let made = Arc::new(make());
        // By kind, so that the readers of one do not take the places of another.
        if renderings.iter().filter(|rendering| rendering.is::<R>()).count() < RENDERINGS_MAX {
            renderings.push(Arc::clone(&made) as _);
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renderings_are_shared_and_whoever_wants_ever_others_fills_no_memory() {
        let renderings = Renderings::default();
        let rendering = |wanted: usize| renderings.get(|&made: &usize| made == wanted, || wanted);
        let first = rendering(0);
        assert!(Arc::ptr_eq(&first, &rendering(0)));
        for wanted in 0..100 {
            assert_eq!(*rendering(wanted), wanted);
        }
        assert!(Arc::ptr_eq(&first, &rendering(0)), "the first ones stay");
        assert_eq!(renderings.0.lock().unwrap().len(), RENDERINGS_MAX);
        let other = renderings.get(|_: &u8| true, || 7);
        assert!(
            Arc::ptr_eq(&other, &renderings.get(|_: &u8| true, || 8)),
            "another kind has places of its own"
        );
    }
}

//! Numbers under which members stand.

pub(crate) type Slot = u32;

/// No slot, no place.
pub(crate) const NONE: Slot = u32::MAX;

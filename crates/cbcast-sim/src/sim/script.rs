//! Scripts of runs that are not left to their seed alone: for teaching, and for what is to be seen.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use cbcast::{MemberId, Time};

/// Script of a mesh with the members `0.1`, `0.2`, and so on, who are named by their ordinals here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script {
    /// Times and speakers. If there is nothing, the plan's messages are said, and the seed decides by whom and when.
    pub says: Vec<(Duration, u32)>,
    /// Between two messages that the seed decides about, on the average.
    pub pace: Duration,
    /// Partitions and their times.
    pub cuts: Vec<ScriptedCut>,
    /// Links with a delay of their own. Of several the first counts.
    pub slow: Vec<SlowLink>,
    /// Packets that may overtake those sent before them over the same link, in hundredths of a percent.
    pub overtaking: u32,
    /// True if members ask for what is missing. If not, it must come by itself: nothing may be lost or cut off.
    pub repair: bool,
}

/// Between these members and all others nothing comes through for a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScriptedCut {
    /// Time that it lasts.
    pub during: Range<Duration>,
    /// Members on one side.
    pub members: BTreeSet<u32>,
}

/// A link on which packets of some time arrive late.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlowLink {
    /// Time that it lasts.
    pub during: Range<Duration>,
    /// By whom.
    pub from: u32,
    /// To whom.
    pub to: u32,
    /// Neither sooner nor later.
    pub delay: Duration,
}

impl Default for Script {
    fn default() -> Self {
        let pace = Duration::from_millis(25);
        Self { says: Vec::new(), pace, cuts: Vec::new(), slow: Vec::new(), overtaking: 10_000, repair: true }
    }
}

impl SlowLink {
    pub(super) fn carries(&self, now: Time, from: MemberId, to: MemberId) -> bool {
        let now = Duration::from_nanos(now.as_nanos());
        (self.from, self.to) == (from.ordinal, to.ordinal) && self.during.contains(&now)
    }
}

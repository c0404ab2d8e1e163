//! Lockdown: an emergency, in which the operator keeps newcomers out. Kept in memory: a server that starts is open.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::settings::AddressLimits;

/// Limits of one address in a lockdown, where they are not lower or absent by the settings. A guess: enough to go on by.
const LEAST: AddressLimits = AddressLimits {
    connections: 8,
    rate: 30,
    silent: 4,
    rooms: 1,
    joins: 10,
    say_rate: 1,
    say_burst: 5,
    loopback: false,
};

/// A server's lockdown, on or off.
#[derive(Debug, Default)]
pub(crate) struct Lockdown(AtomicBool);

impl Lockdown {
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Begins or ends it. Returns whether it was the other way before.
    pub(crate) fn set(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::SeqCst) != on
    }

    /// Returns the limits that count for these of the settings.
    pub(crate) fn limits(&self, limits: AddressLimits) -> AddressLimits {
        if self.is_on() { least(limits) } else { limits }
    }
}

fn least(limits: AddressLimits) -> AddressLimits {
    // 0 is no limit.
    fn lower<T: Default + Ord>(limit: T, least: T) -> T {
        if limit == T::default() { least } else { limit.min(least) }
    }
    AddressLimits {
        connections: lower(limits.connections, LEAST.connections),
        rate: lower(limits.rate, LEAST.rate),
        silent: lower(limits.silent, LEAST.silent),
        rooms: lower(limits.rooms, LEAST.rooms),
        joins: lower(limits.joins, LEAST.joins),
        say_rate: lower(limits.say_rate, LEAST.say_rate),
        say_burst: lower(limits.say_burst, LEAST.say_burst),
        loopback: limits.loopback,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_never_higher_in_a_lockdown() {
        let lockdown = Lockdown::default();
        let lower = AddressLimits { connections: 2, joins: 0, loopback: true, ..AddressLimits::default() };
        assert_eq!(lockdown.limits(lower), lower);
        assert!(lockdown.set(true) && !lockdown.set(true));
        let expected = AddressLimits { connections: 2, loopback: true, ..LEAST };
        assert_eq!(lockdown.limits(lower), expected);
    }
}

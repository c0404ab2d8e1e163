//! Events for the crate `tracing`, with the feature of that name; without it they cost nothing and are nothing.
//!
//! All have the target `cbcast`. What is in order has none: a delivery is an output, and a message that needs nothing
//! is not looked at twice.

/// Tells an event at a level, which is the name of the macro of `tracing`.
macro_rules! tell_event {
    ($level:ident, $($fields_and_text:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(target: "cbcast", $($fields_and_text)+)
    };
}

pub(crate) use tell_event;

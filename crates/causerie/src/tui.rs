//! The full-screen client.
//!
//! ```text
//! keys, rooms, clock ─► Event ─► update(&mut Model) ─► Effects ─► rooms, terminal        run.rs, update.rs
//!                                       Model ─► draw ─► cells ─► terminal               view.rs, terminal.rs
//! ```
//! Of its files none imports one above it: `run`, `terminal` ─► `view`, `overlay` and `update`, `keys`, `enter`, `search`,
//! `rooms`, `deletion`, `scroll` ─► `layout` ─► `model` ─► `room` and what it is made of.
//!
//! `update` and `draw` are pure. The loop draws at most so often, and takes in between whatever has come, so a busy room
//! does not slow the keys down.

mod causality;
mod command;
mod deletion;
mod diagram;
mod editor;
mod enter;
mod holds;
mod keys;
mod layout;
mod links;
mod model;
mod overlay;
mod places;
mod room;
mod rooms;
mod run;
#[cfg(test)]
mod samples;
mod scroll;
mod search;
mod stability;
mod terminal;
mod text;
mod theme;
mod update;
mod view;

pub(crate) use run::run;
pub(crate) use terminal::is_possible;

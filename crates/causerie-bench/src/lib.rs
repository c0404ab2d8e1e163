//! Load on a chat server or a broker, and a judge of what its receivers got.
//!
//! A [`LoadPlan`] says how many members there are, who talks and how much; a [`LoadProtocol`] says what a
//! connection speaks; [`run`] does it and gives a [`LoadReport`]. Every text carries its sender, its number,
//! when it was sent and what it answers ([`payload`]), and every receiver checks what it gets from that alone
//! ([`check`]): so what is counted has been looked at, and it is judged alike whatever protocol it came over.
//!
//! The same generator serves for every protocol: plain sockets, one thread for many, frames read where they lie.
//! A receiver runs no protocol engine of ours, so it costs the same as one of anybody else's.
//!
//! ```no_run
//! use causerie_bench::{LoadPace, LoadPlan, LoadServer, native::Native, run};
//!
//! # fn main() -> Result<(), causerie_bench::LoadError> {
//! let plan = LoadPlan { receivers: 100, senders: 10, pace: LoadPace::Window(100), ..LoadPlan::default() };
//! let server = LoadServer { address: "127.0.0.1:12343".parse().expect("an address"), tls: false };
//! println!("{}", run(&plan, &Native::new(server), server, None, &mut |_| {})?);
//! # Ok(())
//! # }
//! ```

pub mod check;
pub mod classic;
mod error;
pub mod irc;
mod load;
pub mod native;
pub mod payload;
mod plan;
pub mod process;
mod report;
mod room;
mod socket;
mod speaker;
pub mod websocket;
mod worker;

pub use error::LoadError;
pub use load::{LoadProgress, run};
pub use plan::{LoadPace, LoadPlan, PlanError};
pub use report::{Latency, LoadReport, ServerUse};
pub use socket::{BlockingSocket, LoadServer};
pub use speaker::{LoadProtocol, LoadSpeaker, SpeakError, SpeakerSeat};

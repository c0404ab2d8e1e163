//! Reasons for a server to end.

use std::io;

use causerie_core::room::SettingsError;
use causerie_store::StoreError;
use thiserror::Error;

use crate::certificates::CertificateError;

/// Reasons why a server could not start, or had to end.
#[derive(Debug, Error)]
pub enum StartError {
    /// The listener, or a thread, could not be had.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rooms cannot be of such settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The certificate cannot be had.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Nothing can be stored any more: what was said last nobody has seen.
    #[error("{0}")]
    Writing(String),
}

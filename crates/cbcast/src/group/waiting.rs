//! Members that something is waited for: flushes, and the local ones that were rolled back.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::MemberId;

/// A member that the local host is about to part with, in a mesh.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    pub(crate) host: MemberId,
    pub(crate) member: MemberId,
    /// Payload of the *Left* to come.
    pub(crate) payload: Bytes,
    /// Members that have reported, each with its count.
    pub(crate) reported: Vec<(MemberId, u64)>,
}

/// A flush that the local host has called off.
#[derive(Clone, Debug)]
pub(crate) struct CalledOff {
    pub(crate) member: MemberId,
    /// Members that have answered that they know.
    pub(crate) told: Vec<MemberId>,
}

/// A local member that must not say anything for now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rollback {
    pub(crate) member: MemberId,
    /// The greatest number that others are known to have of it.
    pub(crate) proven: u64,
}

//! Ways on which connections come.

/// Way on which a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// From its visitor.
    Direct,
    /// From a trusted proxy.
    Proxied,
    /// By the control socket: whoever may open it is the operator.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is no such socket"))]
    Control,
}

//! What others are shown instead of an IRC client's address.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// Bytes of the hash that are shown.
const SHOWN: usize = 6;

/// A key of this run of the server: hosts made with it tell addresses apart and do not tell which they are, since whoever
/// tries all addresses lacks it.
pub(super) struct HostKey([u8; 32]);

impl Default for HostKey {
    fn default() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the operating system gives random bytes");
        Self(key)
    }
}

impl HostKey {
    /// Returns the host of an address: the same for the same, of IPv6 for the same network of a customer.
    pub(super) fn host(&self, address: IpAddr) -> String {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64),
        };
        let hash = Sha256::new().chain_update(self.0).chain_update(network.octets()).finalize();
        let mut host = String::with_capacity(2 * SHOWN + 7);
        for byte in &hash[..SHOWN] {
            write!(host, "{byte:02x}").expect("a string takes all");
        }
        host + ".hidden"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_and_not_told() {
        let (key, other) = (HostKey::default(), HostKey::default());
        let host = |key: &HostKey, address: &str| key.host(address.parse().expect("an address"));
        let ann = host(&key, "192.0.2.1");
        assert_eq!(ann, host(&key, "::ffff:192.0.2.1"), "the same, whichever socket it came to");
        assert_ne!(ann, host(&key, "192.0.2.2"));
        assert_eq!(host(&key, "2001:db8::1"), host(&key, "2001:db8::ffff:1"), "one network");
        assert_ne!(host(&key, "2001:db8::1"), host(&key, "2001:db8:0:1::1"));
        assert_ne!(ann, host(&other, "192.0.2.1"), "nobody can try them all without the key");
        assert!(!ann.contains("192") || ann.len() == 2 * SHOWN + 7);
    }
}

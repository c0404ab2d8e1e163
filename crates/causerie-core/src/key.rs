//! Keys by which members and makers of rooms are known again, and the proof that somebody holds one.
//!
//! A native member has an Ed25519 key pair of its own, for one membership, and so has whoever makes rooms. The room keeps the
//! public half; the private half never leaves the client. To join and to resume it signs the [`Challenge`] of the server's hello, which is another
//! one for each connection. So who listens, who has the store's files, and who answers at the server's address while it is
//! away learn nothing with which they could resume. (As in SCRAM nothing secret is shown; but there who has heard the
//! stored half can work the secret out of one proof, and without encryption it is heard when a member joins.)
//!
//! Members of HTTP clients show a [`Token`](crate::id::Token) as bearers, until there is TLS.

use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// The public half of a [`KeyPair`].
pub type PublicKey = [u8; 32];

/// Purpose of a proof. What is signed begins with it, so that it reads as nothing else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Joining, and resuming.
    Member,
    /// Making a room, and closing it.
    Room,
}

impl Purpose {
    const fn words(self) -> &'static [u8] {
        match self {
            Self::Member => b"causerie member 1",
            Self::Room => b"causerie room 1",
        }
    }
}

/// Challenge in the server's hello, for the client to sign.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Challenge {
    /// The server's own key; zeros, as long as servers have none.
    pub server_key: [u8; 32],
    /// Fresh randomness of this connection.
    pub random: [u8; 32],
}

impl Challenge {
    fn words(&self, purpose: Purpose) -> Vec<u8> {
        [purpose.words(), &self.server_key, &self.random].concat()
    }
}

/// An Ed25519 key pair, as the 32 random bytes that it is made of.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyPair([u8; 32]);

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

impl KeyPair {
    /// The key pair of 32 bytes of good randomness.
    #[must_use]
    pub const fn new(seed: [u8; 32]) -> Self {
        Self(seed)
    }

    /// Returns the seed that it was made of: to be kept where only its owner can read.
    #[must_use]
    pub const fn seed(&self) -> &[u8; 32] {
        &self.0
    }

    /// The half that everybody may know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        SigningKey::from_bytes(&self.0).verifying_key().to_bytes()
    }

    /// Shows to whoever gave this challenge, and to nobody else, that the key is here.
    #[must_use]
    pub fn prove(&self, purpose: Purpose, challenge: &Challenge) -> Proof {
        let pair = SigningKey::from_bytes(&self.0);
        let signature = pair.sign(&challenge.words(purpose));
        Proof { key: pair.verifying_key().to_bytes(), signature: signature.to_bytes() }
    }
}

/// A claim to hold the private half of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Proof {
    /// Public half of the key.
    pub key: PublicKey,
    /// Signature of the purpose's words, the server's key and the challenge.
    pub signature: [u8; 64],
}

impl Proof {
    /// Returns whether it answers this challenge.
    #[must_use]
    pub fn holds(&self, purpose: Purpose, challenge: &Challenge) -> bool {
        let signature = Signature::from_bytes(&self.signature);
        // Strictly: no key for which everything is a signature, and one signature for each statement.
        VerifyingKey::from_bytes(&self.key)
            .is_ok_and(|key| key.verify_strict(&challenge.words(purpose), &signature).is_ok())
    }
}

/// The key of a room as its maker shows it: the 32 bytes of a [`KeyPair`] as 64 hexadecimal digits.
#[must_use]
pub fn room_key(seed: &[u8; 32]) -> String {
    hex::encode(seed)
}

/// Reads what [`room_key`] has written.
#[must_use]
pub fn read_room_key(text: &str) -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    hex::decode_to_slice(text, &mut seed).ok()?;
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_key_and_its_challenge_only() {
        let key = KeyPair::new([1; 32]);
        let challenge = Challenge { server_key: [0; 32], random: [2; 32] };
        let proof = key.prove(Purpose::Member, &challenge);
        assert!(proof.holds(Purpose::Member, &challenge));
        assert!(!proof.holds(Purpose::Room, &challenge), "it is for another purpose");
        assert_eq!(proof.key, key.public());
        for other in
            [Challenge { random: [3; 32], ..challenge }, Challenge { server_key: [1; 32], ..challenge }]
        {
            assert!(!proof.holds(Purpose::Member, &other), "{other:?}");
        }
        let others = KeyPair::new([2; 32]).prove(Purpose::Member, &challenge);
        assert!(!Proof { key: proof.key, ..others }.holds(Purpose::Member, &challenge));
        for bit in 0..64 * 8 {
            let mut bent = proof;
            bent.signature[bit / 8] ^= 1 << (bit % 8);
            assert!(!bent.holds(Purpose::Member, &challenge), "bit {bit}");
        }
    }

    #[test]
    fn a_key_for_which_everything_is_a_signature_is_none() {
        // The neutral element, for which S = 0 and R = the key itself fit every statement.
        let mut key = [0; 32];
        key[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!Proof { key, signature }.holds(Purpose::Member, &Challenge::default()));
    }
}

//! Tokens of instances: made from a key of this data directory, so that nothing but the key has to
//! be kept for an agent that outlives its supervisor.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use claw_core::{Generation, InstanceId};
use sha2::{Digest, Sha256};

/// Bytes of the key, as many as the hash has.
const KEY: usize = 32;

/// The block of SHA-256.
const BLOCK: usize = 64;

/// The secret from which tokens are made.
#[derive(Clone)]
pub(super) struct TokenKey([u8; KEY]);

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was given to this life of the agent.
    Session(Generation),
    /// It was given to nobody.
    Forged,
}

impl TokenKey {
    /// Reads the key, or makes one where there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut key = [0; KEY];
        match File::open(path) {
            Ok(mut file) => file.read_exact(&mut key)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                getrandom::fill(&mut key)?;
                let fresh = path.with_extension("new");
                let mut file = OpenOptions::new()
                    .create(true)
                    .truncate(true)
                    .write(true)
                    .mode(0o600)
                    .open(&fresh)?;
                file.write_all(&key)?;
                file.sync_all()?;
                std::fs::rename(&fresh, path)?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self(key))
    }

    /// The token of an instance.
    pub(super) fn token(&self, instance: &InstanceId) -> String {
        let mac = hmac_sha256(&self.0, instance.to_string().as_bytes());
        format!("oc1.{}.{}", instance.generation, hex(&mac))
    }

    /// Whose token it is, among the lives of this agent.
    pub(super) fn judge(&self, agent: &claw_core::AgentName, token: &str) -> Verdict {
        let generation = token
            .strip_prefix("oc1.")
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(generation, _mac)| generation.parse().ok())
            .map(Generation);
        let Some(generation) = generation else {
            return Verdict::Forged;
        };
        let expected = self.token(&InstanceId {
            agent: agent.clone(),
            generation,
        });
        if same(expected.as_bytes(), token.as_bytes()) {
            Verdict::Session(generation)
        } else {
            Verdict::Forged
        }
    }
}

/// HMAC (RFC 2104) with SHA-256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, message: &[u8]| {
        let padded = block.map(|byte| byte ^ pad);
        Sha256::new()
            .chain_update(padded)
            .chain_update(message)
            .finalize()
    };
    keyed(0x5c, &keyed(0x36, message)).into()
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 0xf)]);
    }
    text
}

/// The system gives no random numbers, so nothing can be given a name of its own.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
pub(crate) struct NoRandomness(getrandom::Error);

/// A name that nobody can guess and nothing else has, out of at most 32 random bytes.
///
/// # Errors
///
/// The system gives no random numbers. What was to get the name must not be done: under a name that
/// is not its own it would be taken for something else.
pub(crate) fn random(prefix: &str, bytes: usize) -> Result<String, NoRandomness> {
    let mut buffer = [0; KEY];
    let buffer = &mut buffer[..bytes.min(KEY)];
    getrandom::fill(buffer).map_err(NoRandomness)?;
    Ok(format!("{prefix}{}", hex(buffer)))
}

/// A name by which log lines and traces are put together, and on which nothing depends: zeros where
/// the system gives no random numbers.
pub(crate) fn correlation(prefix: &str, bytes: usize) -> String {
    random(prefix, bytes).unwrap_or_else(|_none| format!("{prefix}{}", "00".repeat(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&mac), expected);
        let mac = hmac_sha256(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
        );
        let expected = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(hex(&mac), expected);
    }

    #[test]
    fn random_names_need_no_file_descriptor() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
        let names = (random("e_", 12), random("e_", 12));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        let (one, other) = (names.0.unwrap(), names.1.unwrap());
        assert_eq!(one.len(), 26);
        assert_ne!(one, other);
        assert_ne!(one, format!("e_{}", "00".repeat(12)));
    }

    #[test]
    fn a_token_is_good_for_its_life_and_agent_only_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let monitor = InstanceId {
            agent: "monitor".parse().unwrap(),
            generation: Generation(7),
        };
        let token = TokenKey::open(&path).unwrap().token(&monitor);
        let again = TokenKey::open(&path).unwrap();
        let judge = |token: &str| again.judge(&monitor.agent, token);
        assert_eq!(judge(&token), Verdict::Session(Generation(7)));
        assert_eq!(judge(&token.replacen(".7.", ".8.", 1)), Verdict::Forged);
        assert_eq!(judge(""), Verdict::Forged);
        let other = "web".parse().unwrap();
        assert_eq!(again.judge(&other, &token), Verdict::Forged);
    }
}

//! Which port of this machine is which agent's: chosen once and kept, because a program that lives
//! on under the next supervisor goes on calling the port that its environment names.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use claw_core::AgentName;
use sha2::{Digest, Sha256};

/// Ports that are chosen from: below those that Linux gives to outgoing connections
/// (`ip_local_port_range` begins at 32768), which could have one of them when it is needed again.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// So many are tried before any free port will do.
const TRIES: u16 = 64;

/// The agents' ports.
#[derive(Debug)]
pub(super) struct PortBook {
    path: PathBuf,
    ports: BTreeMap<AgentName, u16>,
}

/// A listener, and what had to be done for it.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: TcpListener,
    pub(super) port: u16,
    /// The port that it had before, which somebody else has now.
    pub(super) lost: Option<u16>,
}

impl PortBook {
    /// Reads the book; one that cannot be read is begun anew. Blocks.
    pub(super) fn open(path: PathBuf) -> Self {
        let ports = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(path = %path.display(), %error, "the ports of agents are chosen anew");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the ports of agents are chosen anew");
                BTreeMap::new()
            }
        };
        Self { path, ports }
    }

    /// Listens at an agent's port, or at another one if it is taken. Blocks.
    ///
    /// # Errors
    ///
    /// No port at all can be listened at.
    pub(super) fn bind(&mut self, agent: &AgentName) -> io::Result<Bound> {
        let kept = self.ports.get(agent).copied();
        let mut listener = None;
        for port in kept.into_iter().chain(self.candidates(agent)).chain([0]) {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(bound) => {
                    listener = Some(bound);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && port != 0 => {}
                Err(error) => return Err(error),
            }
        }
        let listener = listener.ok_or(io::ErrorKind::AddrInUse)?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        self.ports.insert(agent.clone(), port);
        Ok(Bound {
            listener,
            port,
            lost: kept.filter(|kept| *kept != port),
        })
    }

    /// Forgets the ports of all others. Blocks.
    ///
    /// # Errors
    ///
    /// The book cannot be written.
    pub(super) fn keep(mut self, wanted: impl Fn(&AgentName) -> bool) -> io::Result<()> {
        self.ports.retain(|agent, _| wanted(agent));
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(&serde_json::to_vec(&self.ports)?)?;
        fs::rename(&fresh, &self.path)
    }

    /// Ports to try for an agent: the same ones each time, and others in another data directory.
    fn candidates(&self, agent: &AgentName) -> impl Iterator<Item = u16> + use<> {
        let digest = Sha256::new()
            .chain_update(self.path.as_os_str().as_encoded_bytes())
            .chain_update([0])
            .chain_update(agent.as_str())
            .finalize();
        let begin = u16::from_be_bytes([digest[0], digest[1]]) % COUNT;
        (0..TRIES).map(move |step| FIRST + (begin + step) % COUNT)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn agent(name: &str) -> AgentName {
        name.parse().unwrap()
    }

    fn open(dir: &Path) -> PortBook {
        PortBook::open(dir.join("ports.json"))
    }

    #[test]
    fn an_agent_has_the_same_port_under_the_next_supervisor() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(dir.path());
        let first = book.bind(&agent("coder")).unwrap();
        let other = book.bind(&agent("writer")).unwrap();
        assert_ne!(first.port, other.port);
        book.keep(|_| true).unwrap();
        let port = first.port;
        drop(first);
        let again = open(dir.path()).bind(&agent("coder")).unwrap();
        assert_eq!((again.port, again.lost), (port, None));
    }

    #[test]
    fn an_agent_whose_port_is_taken_gets_another_one_and_it_is_said_which_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(dir.path());
        let taken = book.bind(&agent("coder")).unwrap();
        book.keep(|_| true).unwrap();
        let mut book = open(dir.path());
        let moved = book.bind(&agent("coder")).unwrap();
        assert_ne!(moved.port, taken.port);
        assert_eq!(moved.lost, Some(taken.port));
        book.keep(|_| true).unwrap();
        drop(moved.listener);
        let again = open(dir.path()).bind(&agent("coder")).unwrap();
        assert_eq!((again.port, again.lost), (moved.port, None));
    }

    #[test]
    fn the_port_of_an_agent_that_is_gone_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = open(dir.path());
        drop(book.bind(&agent("coder")).unwrap());
        drop(book.bind(&agent("writer")).unwrap());
        book.keep(|agent| agent.as_str() == "writer").unwrap();
        let names: Vec<_> = open(dir.path()).ports.into_keys().collect();
        assert_eq!(names, [agent("writer")]);
    }

    #[test]
    fn a_book_that_cannot_be_read_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ports.json"), "not a book").unwrap();
        let mut book = open(dir.path());
        assert_eq!(book.bind(&agent("coder")).unwrap().lost, None);
        book.keep(|_| true).unwrap();
        assert_eq!(open(dir.path()).ports.len(), 1);
    }
}

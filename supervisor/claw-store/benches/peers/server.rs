//! A server of a peer: started on a free port, ended by its process.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::BufStream;
use tokio::net::TcpStream;

use crate::directory;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to one.
pub(crate) type Connection = BufStream<TcpStream>;

pub(crate) struct Server {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts a command that is told its port and its directory.
    pub(crate) fn start(command: impl FnOnce(u16, &std::path::Path) -> Command) -> Self {
        let directory = directory();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = command(port, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            _directory: directory,
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let began = Instant::now();
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true).unwrap();
                    return BufStream::new(stream);
                }
                Err(error) => assert!(began.elapsed() < PATIENCE, "no server: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

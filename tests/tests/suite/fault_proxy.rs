//! A way over loopback to a server, which does to each connection what it is told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What is done to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is reset as soon as it is made, or used again.
    Refuse,
    /// What is sent arrives, and nothing comes back.
    Stall,
    /// It ends in order after so many bytes of the answers.
    Cut(usize),
    /// It is reset after so many bytes of the answers.
    Reset(usize),
    /// So many bytes of the answers at a time, with a pause before each.
    Slow(usize, Duration),
}

/// The way; closed when dropped.
pub(crate) struct FaultProxy {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    closed: Arc<AtomicBool>,
}

/// What is to be done, and how often that has changed: bytes are counted anew for each fault.
#[derive(Debug, Clone, Copy)]
struct Told {
    fault: Fault,
    nth: u64,
}

impl FaultProxy {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (fault, nth) = (Fault::None, 0);
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            told: Arc::new(Mutex::new(Told { fault, nth })),
            closed: Arc::default(),
        };
        let (told, closed) = (Arc::clone(&proxy.told), Arc::clone(&proxy.closed));
        thread::spawn(move || {
            for client in listener.incoming() {
                if closed.load(Ordering::Relaxed) {
                    return;
                }
                let told = Arc::clone(&told);
                if let Ok(client) = client {
                    thread::spawn(move || connect(&client, server, &told));
                }
            }
        });
        proxy
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for connections that are there as well.
    pub(crate) fn set(&self, fault: Fault) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = told.nth + 1;
        *told = Told { fault, nth };
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; if that fails, it ends with the test.
        TcpStream::connect(self.address).ok();
    }
}

/// Errors are ends of a connection here: both sides see them as such.
fn connect(client: &TcpStream, server: SocketAddr, told: &Mutex<Told>) {
    if now(told).fault == Fault::Refuse {
        return reset(client);
    }
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let requests = thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Both).ok();
    });
    if let Ending::Reset = answers(&server, client, told) {
        reset(client);
    }
    for end in [&server, client] {
        end.shutdown(Shutdown::Both).ok();
    }
    drop(requests.join());
}

/// How the side of the client ends.
enum Ending {
    InOrder,
    Reset,
}

fn answers(mut server: &TcpStream, client: &TcpStream, told: &Mutex<Told>) -> Ending {
    let (mut buffer, mut passed, mut before) = ([0; 4096], 0, 0);
    loop {
        let read = match server.read(&mut buffer) {
            Ok(0) | Err(_) => return Ending::InOrder,
            Ok(read) => read,
        };
        let Told { fault, nth } = now(told);
        if nth != before {
            (passed, before) = (0, nth);
        }
        let (most, ending) = match fault {
            Fault::None | Fault::Slow(..) => (read, None),
            Fault::Stall => (0, None),
            Fault::Refuse => (0, Some(Ending::Reset)),
            Fault::Cut(most) if passed + read >= most => (most - passed, Some(Ending::InOrder)),
            Fault::Reset(most) if passed + read >= most => (most - passed, Some(Ending::Reset)),
            Fault::Cut(_) | Fault::Reset(_) => (read, None),
        };
        if send(client, &buffer[..most], fault).is_err() {
            return Ending::InOrder;
        }
        passed += most;
        if let Some(ending) = ending {
            return ending;
        }
    }
}

fn send(mut client: &TcpStream, bytes: &[u8], fault: Fault) -> std::io::Result<()> {
    let Fault::Slow(piece, pause) = fault else {
        return client.write_all(bytes);
    };
    for piece in bytes.chunks(piece) {
        wait(pause);
        client.write_all(piece)?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a slow way is what is shown")]
fn wait(pause: Duration) {
    thread::sleep(pause);
}

fn now(told: &Mutex<Told>) -> Told {
    *told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that is closed without lingering is reset (`man 7 socket`, `SO_LINGER`).
fn reset(client: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO)).ok();
}

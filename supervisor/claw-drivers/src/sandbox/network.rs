//! A network of its own, in which every connection leads to the supervisor.
//!
//! ```text
//!  connect(any address) ──► lo, where all addresses are local ──► a listener of ours
//! ```
//!
//! The listeners are made inside, by the agent's process before it is the agent, and accepted on
//! outside: no process relays, and whose they are says whose the connection is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// The port of the proxy, on the loopback address.
pub(crate) const PROXY_PORT: u16 = 3128;

/// Where programs find the proxy, in the words of libraries of all kinds.
pub(crate) fn proxy_variables() -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let named = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|key| (key, proxy.clone()));
    let own = ("NO_PROXY", "localhost,127.0.0.1,::1".to_owned());
    let variables = named.into_iter().chain([own]);
    variables
        .flat_map(|(key, value)| {
            [
                (key.to_owned(), value.clone()),
                (key.to_ascii_lowercase(), value),
            ]
        })
        .collect()
}

/// The listeners of an agent's network, made inside it.
///
/// Their addresses are those of the agent's network, and they do not block.
#[derive(Debug)]
pub struct Listeners {
    /// `127.0.0.1:3128`: the proxy that its environment names.
    pub proxy: TcpListener,
    /// What takes connections of programs that know of no proxy.
    pub captured: Option<Captured>,
    /// Port 53.
    pub dns: UdpSocket,
    /// The same for those who ask by TCP.
    pub dns_tcp: TcpListener,
}

/// The listeners of the ports that programs connect to by themselves.
#[derive(Debug)]
pub struct Captured {
    /// Port 443 of every address.
    pub https: TcpListener,
    /// Port 80 of every address.
    pub http: TcpListener,
}

/// Which connections to hosts lead to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Taken {
    /// Those to the proxy, and to HTTP and HTTPS of every address.
    #[default]
    All,
    /// Those to the proxy.
    Proxy,
}

/// What is listened for in an agent's network. Travels with the sockets and says which they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// Connections to hosts.
    #[serde(default)]
    pub(crate) hosts: Option<Taken>,
    /// Calls of language models, at this port of the loopback address.
    #[serde(default)]
    pub(crate) models: Option<u16>,
}

/// The sockets of an agent's network, of which at least one is there unless [`Ports`] has none.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) hosts: Option<Listeners>,
    pub(crate) models: Option<TcpListener>,
}

impl Taken {
    /// How many sockets that takes.
    const fn sockets(self) -> usize {
        match self {
            Self::All => Listeners::COUNT,
            Self::Proxy => Listeners::COUNT - Captured::COUNT,
        }
    }
}

impl Ports {
    /// How many sockets that takes.
    pub(crate) const fn sockets(self) -> usize {
        let hosts = match self.hosts {
            Some(taken) => taken.sockets(),
            None => 0,
        };
        hosts + if self.models.is_some() { 1 } else { 0 }
    }

    /// What so many sockets are of a shim that does not say: it knows of no models.
    pub(crate) fn of_count(sockets: usize) -> Self {
        let mut hosts = [Taken::All, Taken::Proxy].into_iter();
        Self {
            hosts: hosts.find(|taken| taken.sockets() == sockets),
            models: None,
        }
    }
}

impl Sockets {
    /// How many descriptors they are at most.
    pub(crate) const COUNT: usize = Listeners::COUNT + 1;

    /// Takes them from where they were sent, in the order of [`Sockets::into_descriptors`]; `None`
    /// when they are not as many as was said.
    pub(crate) fn from_descriptors(ports: Ports, descriptors: Vec<OwnedFd>) -> Option<Self> {
        if descriptors.len() != ports.sockets() {
            return None;
        }
        let mut descriptors = descriptors.into_iter();
        let hosts = match ports.hosts {
            Some(taken) => Some(Listeners::take(taken, &mut descriptors)?),
            None => None,
        };
        Some(Self {
            hosts,
            models: descriptors.next().map(TcpListener::from),
        })
    }

    /// What is sent of them.
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        let hosts = self.hosts.map(Listeners::into_descriptors);
        let mut descriptors = hosts.unwrap_or_default();
        descriptors.extend(self.models.map(OwnedFd::from));
        descriptors
    }
}

impl Listeners {
    /// How many descriptors they are at most.
    const COUNT: usize = 5;

    fn take(taken: Taken, descriptors: &mut impl Iterator<Item = OwnedFd>) -> Option<Self> {
        let proxy = descriptors.next()?.into();
        let captured = match taken {
            Taken::All => Some(Captured {
                https: descriptors.next()?.into(),
                http: descriptors.next()?.into(),
            }),
            Taken::Proxy => None,
        };
        Some(Self {
            proxy,
            captured,
            dns: descriptors.next()?.into(),
            dns_tcp: descriptors.next()?.into(),
        })
    }

    fn into_descriptors(self) -> Vec<OwnedFd> {
        let mut descriptors = vec![self.proxy.into()];
        if let Some(Captured { https, http }) = self.captured {
            descriptors.extend([OwnedFd::from(https), http.into()]);
        }
        descriptors.extend([OwnedFd::from(self.dns), self.dns_tcp.into()]);
        descriptors
    }
}

impl Captured {
    const COUNT: usize = 2;
}

/// Brings up the loopback interface, all there is; what comes back is the network itself, for
/// [`join`].
pub(crate) fn loopback_up() -> Result<OwnedFd, Fault> {
    let up = || -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        set_up(&socket)?;
        network_of(&socket)
    };
    up().map_err(Fault::of("cannot bring up the network of the sandbox"))
}

/// `SIOCGSKNS`: the network that a socket is in.
const NETWORK_OF_SOCKET: libc::Ioctl = 0x894C;

fn network_of(socket: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::{AsRawFd, FromRawFd};
    // SAFETY: the request takes no argument and answers with a descriptor or an error.
    let network = unsafe { libc::ioctl(socket.as_raw_fd(), NETWORK_OF_SOCKET) };
    if network < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, close-on-exec, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(network) })
}

/// Makes a network for this process, with nothing in it.
pub(crate) fn make() -> Result<(), Fault> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(Fault::of("cannot make a network for the sandbox"))
}

/// Enters the network of another process.
pub(crate) fn join(network: BorrowedFd<'_>) -> Result<(), Fault> {
    nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(Fault::of("cannot enter the network of the sandbox"))
}

fn set_up(socket: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    // SAFETY: all bytes zero are an empty name and an empty union, which are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (at, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *at = libc::c_char::from_ne_bytes([byte]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: the request is the structure that SIOCSIFFLAGS reads, and lives across the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has connections lead to the supervisor, and makes what it accepts them on.
pub(crate) fn listen(ports: Ports) -> Result<Sockets, Fault> {
    let hosts = match ports.hosts {
        Some(taken) => Some(listen_for_hosts(taken)?),
        None => None,
    };
    let models = match ports.models {
        Some(port) => Some(listen_for_models(port)?),
        None => None,
    };
    Ok(Sockets { hosts, models })
}

fn listen_for_hosts(taken: Taken) -> Result<Listeners, Fault> {
    let make = || match taken {
        Taken::All => {
            catch_all(libc::AF_INET)?;
            // A kernel without IPv6 has nothing to catch.
            let any: IpAddr = match catch_all(libc::AF_INET6) {
                Ok(()) => Ipv6Addr::UNSPECIFIED.into(),
                Err(_) => Ipv4Addr::UNSPECIFIED.into(),
            };
            let captured = Captured {
                https: listener(any, 443)?,
                http: listener(any, 80)?,
            };
            bound(any, Some(captured))
        }
        Taken::Proxy => bound(Ipv4Addr::LOCALHOST.into(), None),
    };
    make().map_err(Fault::of("cannot listen in the network of the sandbox"))
}

fn listen_for_models(port: u16) -> Result<TcpListener, Fault> {
    listener(Ipv4Addr::LOCALHOST.into(), port).map_err(Fault::of(format!(
        "cannot listen for calls of language models at 127.0.0.1:{port} in the network of \
         the sandbox"
    )))
}

/// All listeners, that of DNS on this address.
fn bound(dns: IpAddr, captured: Option<Captured>) -> io::Result<Listeners> {
    let listeners = Listeners {
        proxy: listener(Ipv4Addr::LOCALHOST.into(), PROXY_PORT)?,
        captured,
        dns_tcp: listener(dns, 53)?,
        dns: UdpSocket::bind((dns, 53))?,
    };
    listeners.dns.set_nonblocking(true)?;
    Ok(listeners)
}

fn listener(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((address, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The index of the first interface of a network.
const LOOPBACK: u32 = 1;

/// Makes every address of a family one of this network: `ip route add local default dev lo`.
fn catch_all(family: libc::c_int) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    // No protocol is that of routes.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    rustix::net::send(&socket, &route(family), SendFlags::empty())?;
    let mut answer = [0_u8; 256];
    let (length, _) = rustix::net::recv(socket.as_fd(), &mut answer, RecvFlags::empty())?;
    // The header of the answer, then the error number, negative.
    let error = answer[..length]
        .get(16..20)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(libc::EBADMSG, i32::from_ne_bytes);
    let there = libc::EEXIST.unsigned_abs();
    match error.unsigned_abs() {
        0 => Ok(()),
        // A supervisor before this one made it.
        errno if errno == there => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno.cast_signed())),
    }
}

/// `RTM_NEWROUTE` as `rtnetlink(7)` has it: a header, a route, and the interface.
fn route(family: libc::c_int) -> Vec<u8> {
    let byte = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
    let mut body = vec![byte(family), 0, 0, 0];
    body.push(libc::RT_TABLE_LOCAL);
    body.push(libc::RTPROT_BOOT);
    body.push(libc::RT_SCOPE_HOST);
    body.push(libc::RTN_LOCAL);
    body.extend(0_u32.to_ne_bytes());
    body.extend(8_u16.to_ne_bytes());
    body.extend(libc::RTA_OIF.to_ne_bytes());
    body.extend(LOOPBACK.to_ne_bytes());
    let length = u32::try_from(16 + body.len()).unwrap_or(0);
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE;
    let mut message = Vec::with_capacity(64);
    message.extend(length.to_ne_bytes());
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend(u16::try_from(flags).unwrap_or(0).to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(body);
    message
}

#[cfg(test)]
mod tests;

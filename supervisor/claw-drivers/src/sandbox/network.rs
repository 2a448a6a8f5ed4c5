//! A network of its own, in which every connection leads to the supervisor.
//!
//! ```text
//!  connect(any address) ──► lo, where all addresses are local ──► a listener of ours
//! ```
//!
//! The listeners are made inside, by the agent's process before it is the agent, and accepted on
//! outside: no process relays, and whose they are says whose the connection is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

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
    /// Port 443 of every address.
    pub https: TcpListener,
    /// Port 80 of every address.
    pub http: TcpListener,
    /// Port 53 of every address.
    pub dns: UdpSocket,
    /// The same for those who ask by TCP.
    pub dns_tcp: TcpListener,
}

impl Listeners {
    /// How many descriptors they are.
    pub(crate) const COUNT: usize = 5;

    /// Takes them from where they were sent, in the order of [`Listeners::into_descriptors`].
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Option<Self> {
        let [proxy, https, http, dns, dns_tcp] =
            <[OwnedFd; Self::COUNT]>::try_from(descriptors).ok()?;
        Some(Self {
            proxy: proxy.into(),
            https: https.into(),
            http: http.into(),
            dns: dns.into(),
            dns_tcp: dns_tcp.into(),
        })
    }

    /// What is sent of them.
    pub(crate) fn into_descriptors(self) -> [OwnedFd; Self::COUNT] {
        [
            self.proxy.into(),
            self.https.into(),
            self.http.into(),
            self.dns.into(),
            self.dns_tcp.into(),
        ]
    }
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

/// Has every connection lead to the supervisor, and makes what it accepts them on.
pub(crate) fn listen() -> Result<Listeners, Fault> {
    let make = || -> io::Result<Listeners> {
        catch_all(libc::AF_INET)?;
        // A kernel without IPv6 has nothing to catch.
        let version6 = catch_all(libc::AF_INET6).is_ok();
        let any = |port| -> SocketAddr {
            if version6 {
                (Ipv6Addr::UNSPECIFIED, port).into()
            } else {
                (Ipv4Addr::UNSPECIFIED, port).into()
            }
        };
        let listeners = Listeners {
            proxy: TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT))?,
            https: TcpListener::bind(any(443))?,
            http: TcpListener::bind(any(80))?,
            dns: UdpSocket::bind(any(53))?,
            dns_tcp: TcpListener::bind(any(53))?,
        };
        listeners.dns.set_nonblocking(true)?;
        for listener in [
            &listeners.proxy,
            &listeners.https,
            &listeners.http,
            &listeners.dns_tcp,
        ] {
            listener.set_nonblocking(true)?;
        }
        Ok(listeners)
    };
    make().map_err(Fault::of("cannot listen in the network of the sandbox"))
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

//! The proxy of one agent: its listeners, its connections, its end.
//!
//! ```text
//!   listeners ──► accept ──► one task per connection ──► decisions, to the audit
//!                    ▲                 ▲
//!              a bounded number    settings, exchanged on reload
//! ```
//!
//! The listeners are made inside the agent's network namespace and passed here, so that whoever
//! connects to them is that agent: nobody else can, and nothing has to be proven.

use std::io;
use std::net::{TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agent::{Agent, Settings};
use super::decision::{Counters, Decision, DecisionLog, RememberedDenial};
use super::fake_addresses::{FAKE_NETWORK, FakeAddresses};
use super::limits::ConnectRate;
use super::meter::ByteBudget;
use super::resolve::Resolver;
use super::{captured, dns_server, proxy_port};

/// The connections of one agent that have not reached a host yet. More of them wait in the
/// kernel's queue.
const MAX_PENDING: usize = 64;

/// How long to wait after a listener could not accept, most likely for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The sockets of one agent, already bound. Any of them may be missing.
#[derive(Debug)]
pub struct Listeners {
    /// The proxy's own port.
    pub proxy: Option<StdTcpListener>,
    /// What captures TLS. The port it is bound to is the port its clients meant.
    pub https: Option<StdTcpListener>,
    /// What captures HTTP. The port it is bound to is the port its clients meant.
    pub http: Option<StdTcpListener>,
    /// DNS. It must be bound to the one address that `resolv.conf` names: bound to all, its
    /// answers would come from another address than the one asked.
    pub dns: Option<StdUdpSocket>,
    /// DNS over TCP.
    pub dns_tcp: Option<StdTcpListener>,
    /// What the addresses in DNS answers are taken from. A local route must lead it to the
    /// capturing listeners. `None`: no name has an address, because there are none.
    pub fake_network: Option<Ipv4Net>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            proxy: None,
            https: None,
            http: None,
            dns: None,
            dns_tcp: None,
            fake_network: Some(FAKE_NETWORK),
        }
    }
}

/// The proxy of one agent. It ends when it is dropped.
pub struct EgressProxy {
    agent: Arc<Agent>,
    settings: watch::Sender<Arc<Settings>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Proxy,
    Https,
    Http,
    Dns,
}

impl EgressProxy {
    /// Starts to serve, on the runtime of the caller. Decisions go into the channel as long as it
    /// has room; the agent's name goes with each.
    ///
    /// # Errors
    /// When a socket cannot be handed to the runtime.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn start(
        name: &str,
        listeners: Listeners,
        settings: Settings,
        resolver: Arc<dyn Resolver>,
        decisions: mpsc::Sender<Decision>,
    ) -> io::Result<Self> {
        let bytes = Arc::new(ByteBudget::new(settings.limits.max_bytes));
        let (settings, current) = watch::channel(Arc::new(settings));
        let agent = Arc::new(Agent {
            settings: current,
            resolver,
            names: listeners
                .fake_network
                .map(|network| Mutex::new(FakeAddresses::new(network))),
            log: DecisionLog::new(name.into(), decisions),
            bytes,
            open: AtomicU32::new(0),
            connects: Mutex::new(ConnectRate::default()),
            started: Instant::now(),
        });
        let proxy = Self {
            agent,
            settings,
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        proxy.spawn_all(listeners)?;
        Ok(proxy)
    }

    /// Exchanges policy and limits. Connections that the new policy denies are closed.
    pub fn replace(&self, settings: Settings) {
        self.agent.bytes.set_limit(settings.limits.max_bytes);
        self.settings.send_replace(Arc::new(settings));
    }

    /// The latest denials, the latest last, each different one once.
    #[must_use]
    pub fn denials(&self) -> Vec<RememberedDenial> {
        self.agent.log.denials()
    }

    /// The numbers since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            bytes: self.agent.bytes.used(),
            open: self.agent.open.load(Ordering::Relaxed),
            ..self.agent.log.counters()
        }
    }

    /// Closes the listeners and every connection, and waits until that is done.
    pub async fn stop(self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn_all(&self, listeners: Listeners) -> io::Result<()> {
        let pending = Arc::new(Semaphore::new(MAX_PENDING));
        for (listener, role) in [
            (listeners.proxy, Role::Proxy),
            (listeners.https, Role::Https),
            (listeners.http, Role::Http),
            (listeners.dns_tcp, Role::Dns),
        ] {
            let Some(listener) = listener else {
                continue;
            };
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let accepting = Accepting {
                listener,
                role,
                pending: Arc::clone(&pending),
                agent: Arc::clone(&self.agent),
                stopping: self.stopping.clone(),
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn(accepting.run());
        }
        if let Some(socket) = listeners.dns {
            socket.set_nonblocking(true)?;
            let socket = UdpSocket::from_std(socket)?;
            let (agent, stopping) = (Arc::clone(&self.agent), self.stopping.clone());
            self.tasks.spawn(async move {
                let serving = dns_server::serve_udp(&agent, &socket);
                stopping.run_until_cancelled(serving).await
            });
        }
        Ok(())
    }
}

impl Drop for EgressProxy {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

/// One listener at work.
struct Accepting {
    listener: TcpListener,
    role: Role,
    pending: Arc<Semaphore>,
    agent: Arc<Agent>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self) {
        let stopping = self.stopping.clone();
        stopping.run_until_cancelled(self.accept_all()).await;
    }

    async fn accept_all(&self) {
        loop {
            // The permit comes first: what is not accepted costs us nothing.
            let Ok(permit) = Arc::clone(&self.pending).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((client, _ephemeral)) => self.serve(client, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection of an agent could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, client: TcpStream, permit: OwnedSemaphorePermit) {
        let (agent, role) = (Arc::clone(&self.agent), self.role);
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            match role {
                Role::Proxy => proxy_port::serve(&agent, client, permit, &stopping).await,
                Role::Https => captured::serve_tls(&agent, client, permit, &stopping).await,
                Role::Http => captured::serve_http(&agent, client, permit, &stopping).await,
                Role::Dns => {
                    let serving = dns_server::serve_tcp(&agent, client);
                    stopping.run_until_cancelled(serving).await;
                    drop(permit);
                }
            }
        });
    }
}

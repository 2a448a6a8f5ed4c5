//! An agent's proxy, hosts on loopback for it to reach, and a resolver that answers as told.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claw_gateway::egress::policy::{DnsName, EgressPolicy, EgressRules, Line, Source};
use claw_gateway::egress::{
    Addresses, Decision, EgressProxy, Limits, Listeners, Resolver, Settings, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers names in turn, the last answer for ever, and remembers who asked.
#[derive(Default)]
pub(crate) struct Names {
    answers: BTreeMap<String, Vec<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub(crate) fn answering(answers: &[(&str, &[&[&str]])]) -> Self {
        let mut names = Self::default();
        for (name, turns) in answers {
            let turn = |turn: &&[&str]| turn.iter().map(|text| ip(text)).collect();
            let turns = turns.iter().map(turn).collect();
            names.answers.insert((*name).to_owned(), turns);
        }
        names
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("unpoisoned").clone()
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a DnsName) -> Addresses<'a> {
        let mut asked = self.asked.lock().expect("unpoisoned");
        let turn = asked.iter().filter(|known| *known == name.as_str()).count();
        asked.push(name.to_string());
        let answer = self.answers.get(name.as_str()).map(|turns| {
            let turn = turn.min(turns.len() - 1);
            turns[turn].clone()
        });
        Box::pin(async { answer.ok_or_else(|| io::Error::other("no such host")) })
    }
}

/// What the fleet file says in a test.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) allowed: Vec<String>,
    pub(crate) blocked: Vec<String>,
    pub(crate) private: Vec<String>,
    pub(crate) own: Vec<SocketAddr>,
    pub(crate) limits: Limits,
}

impl Rules {
    /// These hosts, and loopback opened.
    pub(crate) fn allowing(allowed: &[&str]) -> Self {
        Self {
            allowed: allowed.iter().map(|text| (*text).to_owned()).collect(),
            private: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            ..Self::default()
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let lines = |key: &str, texts: &[String]| {
            let line = |(at, text): (usize, &String)| Line {
                source: Source::new(&format!("{key}[{at}]")),
                text: text.clone(),
            };
            texts.iter().enumerate().map(line).collect()
        };
        let policy = EgressPolicy::new(&EgressRules {
            place: "sandbox".to_owned(),
            allowed: lines("allowed_network", &self.allowed),
            blocked: lines("blocked_network", &self.blocked),
            private_networks: lines("private_networks", &self.private),
            own_listeners: self.own.clone(),
            ..EgressRules::default()
        })
        .expect("rules");
        let limits = self.limits.clone();
        Settings { policy, limits }
    }
}

/// The proxy of one agent. Its capturing listeners are bound to the first address of the network
/// that stands for names.
pub(crate) struct World {
    pub(crate) proxy: EgressProxy,
    pub(crate) names: Arc<Names>,
    pub(crate) port: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) dns: SocketAddr,
    pub(crate) dns_tcp: SocketAddr,
    decisions: mpsc::Receiver<Decision>,
}

impl World {
    /// Must be called on a runtime. Each world takes a network of its own below 127.0.0.0/8.
    pub(crate) fn start(rules: &Rules, names: Names) -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed) % 200;
        let first = format!("127.{}.0.1", 16 + number);
        let bind = |ip: &str| StdTcpListener::bind((ip, 0)).expect("a listener");
        let (proxy, https, http) = (bind("127.0.0.1"), bind(&first), bind(&first));
        let dns = StdUdpSocket::bind("127.0.0.1:0").expect("a socket");
        let dns_tcp = bind("127.0.0.1");
        let at = |listener: &StdTcpListener| listener.local_addr().expect("an address");
        let (port, https_at, http_at) = (at(&proxy), at(&https), at(&http));
        let (dns_at, dns_tcp_at) = (dns.local_addr().expect("an address"), at(&dns_tcp));
        let listeners = Listeners {
            proxy: Some(proxy),
            https: Some(https),
            http: Some(http),
            dns: Some(dns),
            dns_tcp: Some(dns_tcp),
            fake_network: Some(format!("{first}/16").parse().expect("a network")),
        };
        let names = Arc::new(names);
        let resolver: Arc<dyn Resolver> = Arc::clone(&names) as _;
        let (sender, decisions) = mpsc::channel(256);
        let proxy = EgressProxy::start("coder", listeners, rules.settings(), resolver, sender)
            .expect("a proxy");
        Self {
            proxy,
            names,
            port,
            https: https_at,
            http: http_at,
            dns: dns_at,
            dns_tcp: dns_tcp_at,
            decisions,
        }
    }

    /// Sends bytes to the proxy's port and reads until it closes.
    pub(crate) async fn said(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.client().await;
        client.write_all(bytes.as_ref()).await.expect("sent");
        to_end(client).await
    }

    pub(crate) async fn client(&self) -> TcpStream {
        TcpStream::connect(self.port).await.expect("connected")
    }

    /// A tunnel that is open.
    pub(crate) async fn tunnel(&self, target: &str) -> TcpStream {
        let mut client = self.client().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let answer = until(&mut client, "\r\n\r\n").await;
        assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\n");
        client
    }

    pub(crate) async fn decision(&mut self) -> Decision {
        timeout(PATIENCE, self.decisions.recv())
            .await
            .expect("a decision in time")
            .expect("a decision")
    }

    /// The next denial as its user reads it.
    pub(crate) async fn denial(&mut self) -> String {
        loop {
            match self.decision().await.verdict {
                Verdict::Denied(denial) => return denial.to_string(),
                Verdict::Allowed | Verdict::Unreachable(_) | Verdict::Closed { .. } => {}
            }
        }
    }
}

/// A host that greets, if it has a greeting, and sends everything back.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    bytes: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) async fn echo(address: impl tokio::net::ToSocketAddrs) -> io::Result<Self> {
        Self::greeting(address, "").await
    }

    pub(crate) async fn greeting(
        address: impl tokio::net::ToSocketAddrs,
        greeting: &'static str,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let upstream = Self {
            address: listener.local_addr()?,
            bytes: Arc::default(),
            connections: Arc::default(),
        };
        let (bytes, connections) = (upstream.bytes.clone(), upstream.connections.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(echo(stream, greeting, Arc::clone(&bytes)));
            }
        });
        Ok(upstream)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many bytes came from clients.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn echo(mut stream: TcpStream, greeting: &str, bytes: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut sent = stream.write_all(greeting.as_bytes()).await;
    while sent.is_ok() {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => {
                bytes.fetch_add(length, Ordering::SeqCst);
                sent = stream.write_all(&buffer[..length]).await;
            }
        }
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Reads until a text has come.
pub(crate) async fn until(client: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = timeout(PATIENCE, client.read_u8()).await.expect("in time");
        read.push(byte.expect("a byte"));
    }
    String::from_utf8(read).expect("text")
}

/// Reads until the other side closes, in whatever way.
pub(crate) async fn to_end(mut client: TcpStream) -> String {
    let mut read = Vec::new();
    let end = timeout(PATIENCE, client.read_to_end(&mut read)).await;
    match end.expect("in time") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

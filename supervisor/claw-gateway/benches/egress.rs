//! A host on loopback, reached directly and through the proxy of an agent: bytes per second, and
//! the time until the first byte. `cargo bench -p claw-gateway`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use claw_gateway::egress::policy::{EgressPolicy, EgressRules, Line, Source};
use claw_gateway::egress::{EgressProxy, Limits, Listeners, Settings, SystemResolver};
use divan::Bencher;
use divan::counter::BytesCount;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const TOTAL: u64 = 1 << 30;

fn main() {
    divan::main();
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Direct,
    Proxy,
}

/// A host that sends as many bytes as its client asks for, and the proxy that leads there.
struct World {
    host: SocketAddr,
    port: SocketAddr,
    _proxy: EgressProxy,
    _runtime: Runtime,
}

impl World {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let host = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || send(client));
            }
        });
        let runtime = Runtime::new().expect("a runtime");
        let proxy = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = proxy.local_addr().expect("an address");
        let listeners = Listeners {
            proxy: Some(proxy),
            ..Listeners::default()
        };
        let guard = runtime.enter();
        let resolver = Arc::new(SystemResolver::default());
        let (decisions, _nobody) = mpsc::channel(1);
        let proxy = EgressProxy::start("agent", listeners, settings(host), resolver, decisions)
            .expect("a proxy");
        drop(guard);
        Self {
            host,
            port,
            _proxy: proxy,
            _runtime: runtime,
        }
    }

    fn connect(&self, way: Way) -> TcpStream {
        match way {
            Way::Direct => TcpStream::connect(self.host).expect("connected"),
            Way::Proxy => {
                let mut client = TcpStream::connect(self.port).expect("connected");
                let request = format!("CONNECT {} HTTP/1.1\r\n\r\n", self.host);
                client.write_all(request.as_bytes()).expect("sent");
                let mut answer = [0; 39];
                client.read_exact(&mut answer).expect("an answer");
                assert!(answer.starts_with(b"HTTP/1.1 200 "));
                client
            }
        }
    }
}

fn settings(host: SocketAddr) -> Settings {
    let line = |text: String| {
        let source = Source::new("allowed_network[0]");
        vec![Line { source, text }]
    };
    let policy = EgressPolicy::new(&EgressRules {
        allowed: line(host.to_string()),
        private_networks: line("127.0.0.0/8".to_owned()),
        ..EgressRules::default()
    })
    .expect("rules");
    let limits = Limits::default();
    Settings { policy, limits }
}

/// A client that goes away in the middle is no concern of ours.
fn send(mut client: TcpStream) -> Option<u64> {
    let mut wanted = [0; 8];
    client.read_exact(&mut wanted).ok()?;
    io::copy(
        &mut io::repeat(b'x').take(u64::from_be_bytes(wanted)),
        &mut client,
    )
    .ok()
}

#[divan::bench(args = [Way::Direct, Way::Proxy], sample_count = 10, sample_size = 1)]
fn bytes(bencher: Bencher, way: Way) {
    let world = World::start();
    let mut buffer = vec![0; 256 * 1024];
    bencher.counter(BytesCount::new(TOTAL)).bench_local(|| {
        let mut client = world.connect(way);
        client.write_all(&TOTAL.to_be_bytes()).expect("sent");
        let mut left = TOTAL;
        while left > 0 {
            let read = client.read(&mut buffer).expect("bytes");
            assert!(read > 0, "the host ended early");
            left -= read as u64;
        }
    });
}

#[divan::bench(args = [Way::Direct, Way::Proxy], sample_count = 1000, sample_size = 1)]
fn first_byte(bencher: Bencher, way: Way) {
    let world = World::start();
    bencher.bench_local(|| {
        let mut client = world.connect(way);
        client.write_all(&1_u64.to_be_bytes()).expect("sent");
        client.read_exact(&mut [0]).expect("a byte");
    });
}

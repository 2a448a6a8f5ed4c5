//! What the way through the gateway costs beside a direct call and a bare pass-through, in one run:
//! time added at the median and the 99th percentile, and processor time of each request and of each
//! chunk of a stream. The provider answers at once, so all that is seen is the way.
//!
//! ```text
//! cargo bench -p claw-gateway --bench llm
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claw_gateway::Halts;
use claw_gateway::llm::budget::{Budgets, CallId, Ledger, Limits};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{
    AgentSettings, CachedCall, CallRecord, Caller, Clock, Credential, Event, Gateway, Host,
    Journal, Model, Observer, OnHangUp, Price, Provider, ProviderKind, Settings, Written,
};
use claw_gateway::llm::wire::ChatLimit;
use fakellm::{Behaviour, FakeLlm};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};

/// Requests of a measurement, over all connections together.
const REQUESTS: usize = 4000;

/// Streams of a measurement, and the tokens of each.
const STREAMS: usize = 200;
const TOKENS: u64 = 256;

/// How often each way is measured, in turn; the median counts.
const ROUNDS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
async fn measure() {
    let fake = FakeLlm::start().await.expect("a provider");
    fake.script("stream", [Behaviour::tokens(TOKENS)]);
    let ways = [
        ("direct", fake.address()),
        ("pass-through", pass_through(fake.address()).await),
        ("gateway", gateway(&fake).await),
    ];
    for connections in [1, 32] {
        println!("{REQUESTS} calls over {connections} connections");
        report(&ways, "request", connections, (REQUESTS, &call("call", ""))).await;
    }
    println!("{STREAMS} streams of {TOKENS} chunks, over 8 connections");
    report(
        &ways,
        "stream",
        8,
        (STREAMS, &call("stream", ",\"stream\":true")),
    )
    .await;
}

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
async fn report(
    ways: &[(&str, SocketAddr)],
    what: &str,
    connections: usize,
    (count, body): (usize, &Bytes),
) {
    let mut rounds = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for ((_, address), rounds) in ways.iter().zip(&mut rounds) {
            rounds.push(load(*address, connections, count, body).await);
        }
    }
    for ((name, _), mut rounds) in ways.iter().zip(rounds) {
        rounds.sort_by_key(|figures| figures.median);
        let figures = &rounds[ROUNDS / 2];
        println!(
            "  {name:12} p50 {:>8.1?}  p99 {:>8.1?}  {:>8.1?} of the processor a {what}",
            figures.median, figures.late, figures.cpu
        );
    }
}

#[derive(Clone)]
struct Figures {
    median: Duration,
    late: Duration,
    /// Of client, gateway and provider together.
    cpu: Duration,
}

async fn load(address: SocketAddr, connections: usize, count: usize, body: &Bytes) -> Figures {
    let before = processor_time();
    let clients = (0..connections).map(|_| {
        let body = body.clone();
        tokio::spawn(client(address, count / connections, body))
    });
    let mut times = Vec::with_capacity(count);
    for client in clients.collect::<Vec<_>>() {
        times.extend(client.await.expect("a client"));
    }
    let cpu = processor_time() - before;
    times.sort_unstable();
    Figures {
        median: times[times.len() / 2],
        late: times[times.len() * 99 / 100],
        cpu: cpu / u32::try_from(times.len()).expect("some thousands"),
    }
}

async fn client(address: SocketAddr, count: usize, body: Bytes) -> Vec<Duration> {
    let stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let request = Request::post("/v1/chat/completions")
            .header("host", "bench")
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))
            .expect("a request");
        let begun = Instant::now();
        let response = sender.send_request(request).await.expect("an answer");
        assert!(response.status().is_success(), "{response:?}");
        let answer = response.into_body().collect().await.expect("a body");
        std::hint::black_box(answer.to_bytes());
        times.push(begun.elapsed());
    }
    times
}

/// 180 words, and sixteen tokens of an answer.
fn call(model: &str, further: &str) -> Bytes {
    let prompt = "word ".repeat(180);
    let text = format!(
        "{{\"model\":\"{model}\",\"max_tokens\":1000{further},\
         \"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
    );
    text.into()
}

/// User and system time of this process, in steps of a tick of 10 ms.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a process");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}

type PassThrough = legacy::Client<HttpConnector, Incoming>;

async fn pass_through(provider: SocketAddr) -> SocketAddr {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: PassThrough = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("no delay");
            tokio::spawn(pass(client.clone(), provider, stream));
        }
    });
    address
}

async fn pass(client: PassThrough, provider: SocketAddr, stream: TcpStream) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let uri = format!("http://{provider}{}", request.uri().path());
        *request.uri_mut() = uri.parse().expect("a URL");
        client.request(request)
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    std::hint::black_box(serving.await.is_ok());
}

async fn gateway(fake: &FakeLlm) -> SocketAddr {
    let provider = Provider {
        kind: ProviderKind::OpenAi,
        base_url: fake.url().parse().expect("a URL"),
        key: None,
        rate_limit: None,
        on_hang_up: OnHangUp::Cancel,
        chat_limit: ChatLimit::MaxTokens,
    };
    let rates = Rates::flat(Money::from_pico(1000), Money::from_pico(1000));
    let model = |id: &str| {
        let model = Model {
            provider: "fake".into(),
            id: id.into(),
            price: Price::Known(Arc::new(rates.clone())),
            max_output: Some(1000),
            context: None,
            image_tokens: None,
        };
        (Arc::from(id), Arc::new(model))
    };
    let agent = AgentSettings {
        models: vec!["call".into(), "stream".into()],
        ..AgentSettings::default()
    };
    let settings = Settings {
        providers: [("fake".into(), Arc::new(provider))].into(),
        models: [model("call"), model("stream")].into(),
        agents: [("bench".into(), Arc::new(agent))].into(),
        ..Settings::default()
    };
    let limits = Limits {
        daily: Some(Money::from_usd(1000)),
        monthly: Some(Money::from_usd(1000)),
    };
    let budgets = Budgets {
        fleet: limits,
        agents: [("bench".into(), limits)].into(),
        ..Budgets::default()
    };
    let host = Host {
        journal: Arc::new(Nothing),
        clock: Arc::new(SystemClock(Instant::now())),
        observer: Arc::new(Nothing),
        halts: Halts::default(),
    };
    let gateway = Gateway::new(settings, Ledger::new(budgets), host);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("no delay");
            let caller = Caller {
                agent: "bench".into(),
                replica: "bench".into(),
                instance: "1".into(),
                run: None,
                credential: Credential::Trusted,
            };
            let gateway = gateway.clone();
            tokio::spawn(async move { gateway.serve(stream, caller).await });
        }
    });
    address
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Keeps nothing and hears nothing.
struct Nothing;

impl Journal for Nothing {
    fn reserve<'a>(&'a self, _call: &'a CallRecord) -> Written<'a> {
        Box::pin(async { Ok(()) })
    }

    fn shrink(&self, _call: CallId, _held: Money) -> Written<'_> {
        Box::pin(async { Ok(()) })
    }

    fn settle<'a>(&'a self, _call: &'a CallRecord) -> Written<'a> {
        Box::pin(async { Ok(()) })
    }

    fn cached<'a>(&'a self, _call: &'a CachedCall) -> Written<'a> {
        Box::pin(async { Ok(()) })
    }
}

impl Observer for Nothing {
    fn tell(&self, _event: Event<'_>) {}
}

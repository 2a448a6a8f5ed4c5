//! Calls a language model as a benchmark's client, or passes its calls on as the least that a proxy
//! can do.
//!
//! ```text
//! model-load call URL TOKEN MODEL CONNECTIONS RATE COUNT [stream]   prints its figures as JSON
//! model-load pass ADDRESS                                          prints its own address
//! ```
//!
//! A rate is of requests a second over all connections, each due at a time of its own and measured
//! from then on, so that a late one is not forgiven; 0: one after the other.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

const USAGE: &str = "call URL TOKEN MODEL CONNECTIONS RATE COUNT [stream], or pass ADDRESS";

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pass", provider] => pass_through(provider.parse().expect("an address")).await,
        [
            "call",
            url,
            token,
            model,
            connections,
            rate,
            count,
            ref stream @ ..,
        ] => {
            let number = |text: &str| text.parse::<u32>().expect("a number");
            let load = Load {
                call: Call {
                    url: url.parse().expect("a URL"),
                    token: token.to_owned(),
                    body: body(
                        model,
                        if stream.is_empty() {
                            ""
                        } else {
                            ",\"stream\":true"
                        },
                    ),
                },
                connections: number(connections),
                rate: number(rate),
                count: number(count),
            };
            load.run().await;
        }
        _ => panic!("{USAGE}"),
    }
}

/// 180 words, and an answer that is no longer than the provider likes.
fn body(model: &str, further: &str) -> Bytes {
    let prompt = "word ".repeat(180);
    let text = format!(
        "{{\"model\":\"{model}\",\"max_tokens\":1000{further},\
         \"messages\":[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]}}"
    );
    text.into()
}

#[derive(Clone)]
struct Call {
    url: Uri,
    token: String,
    body: Bytes,
}

struct Load {
    call: Call,
    connections: u32,
    rate: u32,
    count: u32,
}

/// How long a call took until its first byte, and until its last.
struct Took {
    first: Duration,
    whole: Duration,
}

impl Load {
    #[expect(clippy::print_stdout, reason = "the figures are what it is for")]
    async fn run(self) {
        let begun = Instant::now();
        let clients = (0..self.connections).map(|number| {
            let due = (0..self.count / self.connections)
                .map(|turn| self.due(begun, turn * self.connections + number));
            tokio::spawn(client(self.call.clone(), due.collect()))
        });
        let mut all = Vec::new();
        for client in clients.collect::<Vec<_>>() {
            all.extend(client.await.expect("a client"));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let quantiles = |of: fn(&Took) -> Duration| {
            let mut times: Vec<Duration> = all.iter().map(of).collect();
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
            (at(50), at(99))
        };
        let ((p50, p99), (first50, first99)) = (quantiles(|it| it.whole), quantiles(|it| it.first));
        let count = all.len();
        println!(
            "{{\"count\": {count}, \"seconds\": {seconds:.3}, \"p50_ms\": {p50:.3}, \"p99_ms\": {p99:.3}, \
             \"first_p50_ms\": {first50:.3}, \"first_p99_ms\": {first99:.3}}}"
        );
    }

    /// When a call is to be made; `None`: once the one before it is answered.
    fn due(&self, begun: Instant, number: u32) -> Option<Instant> {
        let rate = f64::from(self.rate);
        (self.rate > 0).then(|| begun + Duration::from_secs_f64(f64::from(number) / rate))
    }
}

async fn client(call: Call, due: Vec<Option<Instant>>) -> Vec<Took> {
    let authority = call.url.authority().expect("a host and a port");
    let stream = TcpStream::connect(authority.as_str())
        .await
        .expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("a connection");
    tokio::spawn(connection);
    let mut times = Vec::with_capacity(due.len());
    for due in due {
        let begun = due.unwrap_or_else(Instant::now);
        sleep_until(begun).await;
        times.push(ask(&mut sender, &call, begun).await);
    }
    times
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, call: &Call, begun: Instant) -> Took {
    let request = Request::post(call.url.path())
        .header("host", call.url.authority().expect("a host").as_str())
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", call.token))
        .body(Full::new(call.body.clone()))
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status();
    let mut body = response.into_body();
    let mut first = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.expect("a whole body");
        assert!(status.is_success(), "{status}: {frame:?}");
        first.get_or_insert_with(|| begun.elapsed());
    }
    let whole = begun.elapsed();
    let first = first.unwrap_or(whole);
    Took { first, whole }
}

type Client = legacy::Client<HttpConnector, Incoming>;

#[expect(clippy::print_stdout, reason = "whoever starts it reads where it is")]
async fn pass_through(provider: SocketAddr) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    println!("{}", listener.local_addr().expect("an address"));
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("no delay");
        tokio::spawn(pass(client.clone(), provider, stream));
    }
}

async fn pass(client: Client, provider: SocketAddr, stream: TcpStream) {
    let service = service_fn(|mut request: Request<Incoming>| {
        let uri = format!("http://{provider}{}", request.uri().path());
        *request.uri_mut() = uri.parse().expect("a URL");
        client.request(request)
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    std::hint::black_box(serving.await.is_ok());
}

//! Publishes durable events of 1 KB through its agent's socket as fast as it is answered: a
//! benchmark's agent.
//!
//! ```text
//! publisher CONNECTIONS SECONDS FILE
//! ```
//!
//! Each connection has one request under way. Afterwards the file says how many events a second
//! there were, and how many milliseconds one took.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().expect("CONNECTIONS SECONDS FILE");
    let connections: u32 = argument().parse().expect("a number of connections");
    let time = Duration::from_secs(argument().parse().expect("a number of seconds"));
    let file = argument();
    let request = request();
    let threads = (0..connections).map(|_| {
        let request = request.clone();
        thread::spawn(move || publish(&request, time))
    });
    let threads: Vec<_> = threads.collect();
    let times = threads.into_iter().flat_map(|thread| {
        let times = thread.join();
        times.expect("the connection held")
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let quantile = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let count = u32::try_from(times.len()).expect("some millions at most");
    let rate = f64::from(count) / time.as_secs_f64();
    let text = format!(
        "{{\"per_second\": {rate:.0}, \"p50\": {:.3}, \"p99\": {:.3}}}\n",
        quantile(50),
        quantile(99)
    );
    let fresh = format!("{file}.new");
    let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &file));
    written.expect("the figures can be written");
}

fn request() -> Vec<u8> {
    let token = std::env::var("OPENCLAW_TOKEN").expect("an agent has a token");
    let body = format!(
        "{{\"name\":\"bench.event\",\"data\":\"{}\"}}",
        "x".repeat(1024)
    );
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: openclaw\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    request.into_bytes()
}

/// How long each event took.
fn publish(request: &[u8], time: Duration) -> Vec<Duration> {
    let path = std::env::var("OPENCLAW_SOCK").expect("an agent has a socket");
    let mut stream = UnixStream::connect(path).expect("the socket answers");
    let mut answers = BufReader::new(stream.try_clone().expect("a second descriptor"));
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let sent = Instant::now();
        stream.write_all(request).expect("the request is taken");
        receive(&mut answers);
        times.push(sent.elapsed());
    }
    times
}

fn receive(answers: &mut impl BufRead) {
    let (mut line, mut length) = (String::new(), 0);
    answers.read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    while line != "\r\n" {
        line.clear();
        answers.read_line(&mut line).expect("a head");
        let lower = line.to_ascii_lowercase();
        if let Some(text) = lower.strip_prefix("content-length:") {
            length = text.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    answers.read_exact(&mut body).expect("a body");
}

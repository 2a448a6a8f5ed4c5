//! Publishes durable events of 1 KB through its agent's socket as fast as it is answered: a
//! benchmark's agent.
//!
//! ```text
//! publisher CONNECTIONS SECONDS FILE
//! ```
//!
//! Each connection has one request under way; one thread looks after all of them, so that the
//! client costs no more than one of the peers' benchmarks does. Afterwards the file says how many
//! events a second there were, and how many milliseconds one took.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::retry_on_intr;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().expect("CONNECTIONS SECONDS FILE");
    let connections: usize = argument().parse().expect("a number of connections");
    let time = Duration::from_secs(argument().parse().expect("a number of seconds"));
    let file = argument();
    let mut times = publish(connections, time);
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

/// How long each event took.
fn publish(connections: usize, time: Duration) -> Vec<Duration> {
    let request = request();
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a set of descriptors");
    let mut connections: Vec<_> = (0..connections).map(|_| Connection::open()).collect();
    for (number, connection) in (0..).zip(&mut connections) {
        let data = epoll::EventData::new_u64(number);
        epoll::add(&ready, &connection.stream, data, epoll::EventFlags::IN).expect("one more");
    }
    let begun = Instant::now();
    for connection in &mut connections {
        connection.send(&request);
    }
    let (mut times, mut under_way) = (Vec::new(), connections.len());
    let mut found = Vec::with_capacity(connections.len());
    while under_way > 0 {
        found.clear();
        // Whoever is stopped and continued is interrupted here.
        retry_on_intr(|| epoll::wait(&ready, spare_capacity(&mut found), None))
            .expect("a set that can be waited on");
        for event in &found {
            let number = usize::try_from(event.data.u64()).expect("a number of ours");
            let connection = &mut connections[number];
            let Some(took) = connection.receive() else {
                continue;
            };
            times.push(took);
            if begun.elapsed() < time {
                connection.send(&request);
            } else {
                under_way -= 1;
            }
        }
    }
    times
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

/// A connection with at most one request under way.
struct Connection {
    stream: UnixStream,
    sent: Instant,
    /// What has come of the answer.
    answer: Vec<u8>,
}

impl Connection {
    fn open() -> Self {
        let path = std::env::var("OPENCLAW_SOCK").expect("an agent has a socket");
        Self {
            stream: UnixStream::connect(path).expect("the socket answers"),
            sent: Instant::now(),
            answer: Vec::new(),
        }
    }

    fn send(&mut self, request: &[u8]) {
        self.sent = Instant::now();
        self.stream
            .write_all(request)
            .expect("the request is taken");
    }

    /// Reads what there is. Answers how long the request took, once it is answered.
    fn receive(&mut self) -> Option<Duration> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).expect("an answer");
        assert!(length > 0, "the connection holds");
        self.answer.extend_from_slice(&piece[..length]);
        let whole = is_whole(&self.answer);
        whole.then(|| {
            self.answer.clear();
            self.sent.elapsed()
        })
    }
}

/// Whether that is all of an answer, which says that the event is published.
fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(end) = end else {
        return false;
    };
    let head = str::from_utf8(&answer[..end]).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) = lines
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .expect("an answer has a length");
    let length: usize = length.trim().parse().expect("a length");
    answer.len() >= end + 4 + length
}

//! Redis Streams: `XADD`, one group, `XREADGROUP` and `XACK` in batches.

use std::path::PathBuf;
use std::process::Command;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::server::{Connection, Server};
use crate::{Consumer, PAYLOAD, Producer, Round, executable, run};

pub(crate) struct Redis {
    executable: PathBuf,
}

impl Redis {
    pub(crate) fn find() -> Option<Self> {
        let executable = executable("CLAW_BENCH_REDIS", "redis-server")?;
        Some(Self { executable })
    }

    pub(crate) fn name(&self) -> String {
        let said = Command::new(&self.executable).arg("--version").output();
        let said = String::from_utf8(said.unwrap().stdout).unwrap();
        let version = said.split("v=").nth(1).unwrap_or("").split(' ').next();
        format!("Redis {}, appendfsync always", version.unwrap_or(""))
    }

    pub(crate) async fn round(&self, producers: u64) -> Round {
        let server = Server::start(|port, directory| {
            let mut command = Command::new(&self.executable);
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]);
            command.arg(directory);
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
            // A rewrite of the log in the middle of a round would be held against it.
            command.args(["--auto-aof-rewrite-percentage", "0", "--save", ""]);
            command
        });
        let mut consumer = server.connect().await;
        let group = ["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"];
        let made = ask(&mut consumer, &group.map(str::as_bytes)).await;
        assert_eq!(made, Reply::Text(b"OK".to_vec()));
        let mut clients = Vec::new();
        for _ in 0..producers {
            clients.push(Client(server.connect().await));
        }
        run(clients, Replica(consumer)).await
    }
}

struct Client(Connection);

impl Producer for Client {
    async fn publish(&mut self, number: u64) {
        let id = format!("event-{number}");
        let add: [&[u8]; 9] = [
            b"XADD",
            b"s",
            b"*",
            b"id",
            id.as_bytes(),
            b"source",
            b"bench",
            b"data",
            &PAYLOAD,
        ];
        let Reply::Text(_id) = ask(&mut self.0, &add).await else {
            panic!("an event was not added");
        };
    }
}

struct Replica(Connection);

impl Consumer for Replica {
    async fn take(&mut self) -> u64 {
        let read = [
            "XREADGROUP",
            "GROUP",
            "g",
            "c",
            "COUNT",
            "1024",
            "BLOCK",
            "50",
            "STREAMS",
            "s",
            ">",
        ];
        let streams = ask(&mut self.0, &read.map(str::as_bytes)).await;
        let ids = ids_of(streams);
        if !ids.is_empty() {
            let mut acknowledge: Vec<&[u8]> = vec![b"XACK", b"s", b"g"];
            acknowledge.extend(ids.iter().map(Vec::as_slice));
            ask(&mut self.0, &acknowledge).await;
        }
        ids.len() as u64
    }
}

/// The ids in the answer of `XREADGROUP`: streams, each with its entries, each with id and fields.
fn ids_of(streams: Reply) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    for stream in streams.list() {
        for entry in stream.list().into_iter().skip(1).flat_map(Reply::list) {
            match entry.list().into_iter().next() {
                Some(Reply::Text(id)) => ids.push(id),
                Some(Reply::Nothing | Reply::List(_)) | None => panic!("an entry without an id"),
            }
        }
    }
    ids
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Nothing,
    Text(Vec<u8>),
    List(Vec<Reply>),
}

impl Reply {
    fn list(self) -> Vec<Self> {
        match self {
            Self::List(list) => list,
            Self::Nothing | Self::Text(_) => Vec::new(),
        }
    }
}

async fn ask(connection: &mut Connection, words: &[&[u8]]) -> Reply {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    connection.write_all(&request).await.unwrap();
    connection.flush().await.unwrap();
    answer(connection).await
}

/// Reads one answer; lists are read into each other without recursion of futures.
async fn answer(connection: &mut Connection) -> Reply {
    let mut open: Vec<(usize, Vec<Reply>)> = Vec::new();
    loop {
        let mut done = match line(connection).await {
            (b'*', count) if count > 0 => {
                open.push((usize::try_from(count).unwrap(), Vec::new()));
                continue;
            }
            (b'$', size) if size >= 0 => {
                let mut text = vec![0; usize::try_from(size).unwrap() + 2];
                connection.read_exact(&mut text).await.unwrap();
                text.truncate(text.len() - 2);
                Reply::Text(text)
            }
            (b'+', _) => Reply::Text(b"OK".to_vec()),
            (_nothing, _) => Reply::Nothing,
        };
        loop {
            let Some((left, list)) = open.last_mut() else {
                return done;
            };
            list.push(done);
            *left -= 1;
            if *left > 0 {
                break;
            }
            done = Reply::List(open.pop().unwrap().1);
        }
    }
}

/// What kind of answer begins, and its number.
async fn line(connection: &mut Connection) -> (u8, i64) {
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line).await.unwrap();
    let text = String::from_utf8(line).unwrap();
    let (kind, rest) = text.trim_end().split_at(1);
    assert_ne!(kind, "-", "Redis refused: {rest}");
    (kind.as_bytes()[0], rest.parse().unwrap_or(0))
}

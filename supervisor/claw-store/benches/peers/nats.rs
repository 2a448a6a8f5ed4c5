//! NATS JetStream: publish with an acknowledgement, one durable consumer, pulled in batches.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use crate::server::{Connection, Server};
use crate::{Consumer, PAYLOAD, Producer, Round, executable, run};

/// Events in one pull.
const BATCH: u64 = 512;

pub(crate) struct Nats {
    executable: PathBuf,
    version: String,
    sync: Sync,
}

/// When the server makes durable what it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    Before,
    /// Up to two minutes later: it has no option for more.
    After,
}

impl Nats {
    pub(crate) fn find() -> Option<Self> {
        let executable = executable("CLAW_BENCH_NATS", "nats-server")?;
        let said = Command::new(&executable).arg("--version").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let version = said.trim().rsplit('v').next().unwrap_or("").to_owned();
        let minor = version
            .split('.')
            .nth(1)
            .and_then(|minor| minor.parse().ok());
        let sync = match minor {
            Some(10_u32..) => Sync::Before,
            Some(_) | None => Sync::After,
        };
        Some(Self {
            executable,
            version,
            sync,
        })
    }

    pub(crate) fn name(&self) -> String {
        let sync = match self.sync {
            Sync::Before => "sync_interval always",
            Sync::After => "not synced at the answer",
        };
        format!("NATS {}, {sync}", self.version)
    }

    pub(crate) async fn round(&self, producers: u64) -> Round {
        let server = Server::start(|port, directory| self.command(port, directory));
        let mut consumer = Client::new(&server, 0).await;
        let stream = r#"{"name":"S","subjects":["data.>"],"storage":"file"}"#;
        consumer.request("$JS.API.STREAM.CREATE.S", stream).await;
        let durable = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit","max_ack_pending":65536}}"#;
        consumer
            .request("$JS.API.CONSUMER.DURABLE.CREATE.S.C", durable)
            .await;
        let mut clients = Vec::new();
        for number in 1..=producers {
            clients.push(Client::new(&server, number).await);
        }
        run(clients, Replica(consumer)).await
    }

    fn command(&self, port: u16, directory: &Path) -> Command {
        let file = directory.join("nats.conf");
        let sync = match self.sync {
            Sync::Before => "sync_interval: always",
            Sync::After => "",
        };
        let data = directory.join("data");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{\n store_dir: {:?}\n {sync}\n}}\n",
            data.display().to_string()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(&self.executable);
        command.arg("-c").arg(file);
        command
    }
}

struct Client {
    connection: Connection,
    inbox: String,
}

impl Client {
    /// Each hears the answers to it alone.
    async fn new(server: &Server, number: u64) -> Self {
        let mut connection = server.connect().await;
        let inbox = format!("inbox.{number}");
        let begin = format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {inbox} 1\r\n");
        connection.write_all(begin.as_bytes()).await.unwrap();
        Self { connection, inbox }
    }

    async fn put(&mut self, subject: &str, body: &str) {
        let text = format!("PUB {subject} {} {}\r\n{body}\r\n", self.inbox, body.len());
        self.connection.write_all(text.as_bytes()).await.unwrap();
        self.connection.flush().await.unwrap();
    }

    async fn request(&mut self, subject: &str, body: &str) {
        self.put(subject, body).await;
        let answer = message(&mut self.connection).await;
        assert!(
            !answer.text.contains("\"error\""),
            "refused: {}",
            answer.text
        );
    }
}

impl Producer for Client {
    async fn publish(&mut self, number: u64) {
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: event-{number}\r\n\r\n");
        let begin = format!(
            "HPUB data.collected {} {} {}\r\n{headers}",
            self.inbox,
            headers.len(),
            headers.len() + PAYLOAD.len()
        );
        self.connection.write_all(begin.as_bytes()).await.unwrap();
        self.connection.write_all(&PAYLOAD).await.unwrap();
        self.connection.write_all(b"\r\n").await.unwrap();
        self.connection.flush().await.unwrap();
        let answer = message(&mut self.connection).await;
        assert!(answer.text.contains("\"seq\""), "refused: {}", answer.text);
    }
}

struct Replica(Client);

impl Consumer for Replica {
    async fn take(&mut self) -> u64 {
        let pull = format!("{{\"batch\":{BATCH},\"no_wait\":true}}");
        self.0.put("$JS.API.CONSUMER.MSG.NEXT.S.C", &pull).await;
        let connection = &mut self.0.connection;
        let mut taken = 0;
        while taken < BATCH {
            let event = message(connection).await;
            let Some(reply) = event.reply.filter(|reply| reply.starts_with("$JS.ACK")) else {
                break;
            };
            let ack = format!("PUB {reply} 0\r\n\r\n");
            connection.write_all(ack.as_bytes()).await.unwrap();
            taken += 1;
        }
        connection.flush().await.unwrap();
        if taken == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        taken
    }
}

/// A message of the server: an event with the subject that acknowledges it, or an answer.
struct Message {
    reply: Option<String>,
    text: String,
}

async fn message(connection: &mut Connection) -> Message {
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let headers = match words.first().copied() {
            Some("MSG") => 0,
            Some("HMSG") => 1,
            Some("PING") => {
                connection.write_all(b"PONG\r\n").await.unwrap();
                connection.flush().await.unwrap();
                continue;
            }
            Some("-ERR") => panic!("NATS refused: {line}"),
            Some(_info) => continue,
            None => panic!("NATS has closed the connection"),
        };
        let size: usize = words[words.len() - 1].parse().unwrap();
        let mut text = vec![0; size + 2];
        connection.read_exact(&mut text).await.unwrap();
        // Subject, subscription, perhaps the subject of an answer, then one or two sizes.
        let reply = (words.len() == 5 + headers).then(|| words[3].to_owned());
        return Message {
            reply,
            text: String::from_utf8_lossy(&text).into_owned(),
        };
    }
}

//! The server on real sockets.

use std::path::PathBuf;
use std::time::Duration;

use claw_core::action::Happened;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::tungstenite::Message;

use super::fleet::Fleet;
use crate::http::server::{Running, serve};
use crate::http::{Listeners, limits};

/// A server on real sockets.
struct Served {
    fleet: Fleet,
    running: Running,
    socket: PathBuf,
    address: std::net::SocketAddr,
    _dir: tempfile::TempDir,
}

fn served() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let fleet = Fleet::new();
    let listeners = Listeners::bind(&socket, Some("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listeners.address().unwrap();
    let running = serve(listeners, fleet.state.clone());
    Served {
        fleet,
        running,
        socket,
        address,
        _dir: dir,
    }
}

/// Sends `head` with `connection: close` and reads all of the answer.
async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, head: &str) -> String {
    let request = format!("{head}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .unwrap()
        .unwrap();
    answer
}

#[tokio::test]
async fn the_socket_and_the_loopback_are_both_served() {
    let served = served();
    let unix = UnixStream::connect(&served.socket).await.unwrap();
    let answer = exchange(unix, "GET /api/ready HTTP/1.1\r\nhost: x").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let answer = exchange(tcp, "GET /api/ready HTTP/1.1\r\nhost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let answer = exchange(tcp, "GET /api/ready HTTP/1.1\r\nhost: evil.example").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    served.running.stop().await;
}

#[tokio::test]
async fn only_the_socket_lets_the_supervisor_be_ended() {
    let served = served();
    let unix = UnixStream::connect(&served.socket).await.unwrap();
    let answer = exchange(unix, "POST /api/shutdown HTTP/1.1\r\nhost: x").await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let answer = exchange(tcp, "POST /api/shutdown HTTP/1.1\r\nhost: localhost").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    served.running.stop().await;
}

#[tokio::test]
async fn events_come_over_a_websocket() {
    let served = served();
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let url = "ws://localhost/api/events?after=0";
    let (mut socket, _response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let detail = "x".to_owned();
    served
        .fleet
        .announce("monitor", Happened::StaleFact { detail });
    let message = socket.next().await.unwrap().unwrap();
    let event: crate::api::Event = serde_json::from_str(message.to_text().unwrap()).unwrap();
    assert_eq!((event.id, event.happened.kind()), (1, "stale_fact"));
    served.running.stop().await;
    let last = socket.next().await.unwrap().unwrap();
    assert!(matches!(last, Message::Close(Some(_))), "{last:?}");
}

#[tokio::test]
async fn a_command_is_run_over_a_websocket_by_those_who_may() {
    let served = served();
    let url = "ws://localhost/api/agents/monitor/exec";
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let (mut socket, _response) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let start = r#"{"start": {"command": ["no-such"]}}"#;
    socket.send(Message::text(start)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    let said: serde_json::Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    let detail = "cannot execute `no-such`: no such file";
    assert_eq!(
        said,
        serde_json::json!({"failed": {"detail": detail, "exit_code": 127}})
    );
    let tcp = TcpStream::connect(served.address).await.unwrap();
    let refused = tokio_tungstenite::client_async(url, tcp).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    for (agent, status) in [("idle", "409"), ("nobody", "404")] {
        let url = format!("ws://localhost/api/agents/{agent}/exec");
        let stream = UnixStream::connect(&served.socket).await.unwrap();
        let refused = tokio_tungstenite::client_async(url, stream)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(status), "{agent}: {refused}");
    }
    served.running.stop().await;
}

#[tokio::test]
async fn stopping_ends_streams_and_removes_the_socket() {
    let served = served();
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let head = "GET /api/events HTTP/1.1\r\nhost: x";
    let reading = tokio::spawn(exchange(stream, head));
    while served.fleet.world.events.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    served.running.stop().await;
    let answer = reading.await.unwrap();
    assert!(
        answer.ends_with("\r\n0\r\n\r\n"),
        "the stream ends in order: {answer}"
    );
    assert!(!served.socket.exists());
}

#[tokio::test]
async fn a_connection_too_many_is_turned_away() {
    let served = served();
    let mut held = Vec::new();
    for _ in 0..limits::CONNECTIONS {
        held.push(UnixStream::connect(&served.socket).await.unwrap());
    }
    let refused = async {
        loop {
            let mut stream = UnixStream::connect(&served.socket).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            if answer.starts_with("HTTP/1.1 503 ") {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), refused)
        .await
        .unwrap();
    let (_head, body) = answer.split_once("\r\n\r\n").unwrap();
    let problem: crate::api::Problem = serde_json::from_str(body).unwrap();
    assert_eq!(problem.code, crate::api::Code::TooManyStreams);
    drop(held);
    served.running.stop().await;
}

//! From a stream to a reader, at the reader's pace.
//!
//! ```text
//!  source ──► pump (a task) ──► a few frames ──► body of the response ──► socket
//! ```
//!
//! Nothing is kept for a slow reader but those few frames; the source is asked for the next one
//! when there is room. A reader that takes nothing for [`limits::STALL`] has its stream ended
//! with a notice; if it takes not even that, its connection is cut.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::limits;

/// A stream, and all that delivering it needs.
pub(super) struct Outlet<T> {
    /// What is delivered.
    pub(super) source: BoxStream<'static, T>,
    /// The right to hold a stream open.
    pub(super) permit: OwnedSemaphorePermit,
    /// Cancelled when the server stops.
    pub(super) closing: CancellationToken,
    /// Cuts the connection.
    pub(super) cut: CancellationToken,
}

/// The texts around the frames of a stream.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    /// The content type.
    pub(super) media_type: &'static str,
    /// Sent in silence, so that nobody takes the stream for dead.
    pub(super) keep_alive: Option<&'static str>,
    /// Sent last to a reader that was too slow.
    pub(super) notice: String,
}

/// Delivers a stream as the body of a response.
pub(super) fn body(outlet: Outlet<Bytes>, manners: Manners) -> Response {
    let headers = [
        (CONTENT_TYPE, manners.media_type),
        (CACHE_CONTROL, "no-store"),
    ];
    let (frames_in, mut frames) = mpsc::channel(limits::FRAMES);
    let (ended_in, ended) = oneshot::channel::<Infallible>();
    let slow = Arc::new(AtomicBool::new(false));
    let notice = Bytes::from(manners.notice);
    let was_slow = Arc::clone(&slow);
    // The pump ends by itself when the body is dropped.
    tokio::spawn(pump(
        outlet,
        manners.keep_alive,
        frames_in,
        Reader { ended, slow },
    ));
    let stream = async_stream::stream! {
        let _open = ended_in;
        while let Some(frame) = frames.recv().await {
            yield Ok::<Bytes, Infallible>(frame);
        }
        if was_slow.load(Ordering::Acquire) {
            yield Ok(notice);
        }
    };
    (headers, Body::from_stream(stream)).into_response()
}

/// The other end of a pump.
struct Reader {
    /// Resolves when the body was dropped.
    ended: oneshot::Receiver<Infallible>,
    /// Whether the reader was too slow.
    slow: Arc<AtomicBool>,
}

async fn pump(
    mut outlet: Outlet<Bytes>,
    keep_alive: Option<&'static str>,
    frames: mpsc::Sender<Bytes>,
    reader: Reader,
) {
    let _permit = outlet.permit;
    loop {
        let next = tokio::select! {
            next = outlet.source.next() => next,
            () = outlet.closing.cancelled() => None,
            () = frames.closed() => None,
            () = tokio::time::sleep(limits::KEEP_ALIVE), if keep_alive.is_some() => {
                keep_alive.map(|text| Bytes::from_static(text.as_bytes()))
            }
        };
        let Some(frame) = next else { return };
        match tokio::time::timeout(limits::STALL, frames.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_hung_up)) => return,
            Err(_stalled) => break,
        }
    }
    reader.slow.store(true, Ordering::Release);
    drop(frames);
    tracing::warn!("a stream was ended because its reader was too slow");
    if tokio::time::timeout(limits::STALL, reader.ended)
        .await
        .is_err()
    {
        outlet.cut.cancel();
    }
}

/// Delivers a stream over a WebSocket, one text message each, until either side ends it.
///
/// A reader that was too slow is told so in the reason of the close.
pub(super) async fn socket(mut outlet: Outlet<String>, mut socket: WebSocket) {
    let _permit = outlet.permit;
    loop {
        let message = tokio::select! {
            next = outlet.source.next() => match next {
                Some(text) => Message::text(text),
                None => break,
            },
            () = outlet.closing.cancelled() => break,
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Pings are answered by the library; nothing else is expected of a reader.
                Some(Ok(_)) => continue,
            },
            () = tokio::time::sleep(limits::KEEP_ALIVE) => Message::Ping(Bytes::new()),
        };
        match tokio::time::timeout(limits::STALL, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_hung_up)) => return,
            Err(_stalled) => {
                tracing::warn!("a WebSocket was closed because its reader was too slow");
                say_goodbye(&mut socket, close_code::AGAIN, "this reader was too slow").await;
                return;
            }
        }
    }
    say_goodbye(&mut socket, close_code::NORMAL, "the stream has ended").await;
}

/// Closes in order where the reader still reads; one that does not is dropped.
async fn say_goodbye(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let goodbye = socket.send(Message::Close(Some(frame)));
    match tokio::time::timeout(limits::GOODBYE, goodbye).await {
        Ok(Ok(()) | Err(_)) | Err(_) => {}
    }
}

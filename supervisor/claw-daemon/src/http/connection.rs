//! One connection.

use std::convert::Infallible;
use std::pin::pin;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::caller::Link;
use super::limits;

/// What a connection is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// The answer to a connection too many.
const TURNED_AWAY: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nconnection: close\r\nretry-after: 1\r\n\r\n\
    {\"type\":\"/docs#too_many_streams\",\"title\":\"Too many streams\",\"status\":503,\
    \"detail\":\"too many connections are open; close one\",\"code\":\"too_many_streams\",\
    \"request_id\":\"\"}\n";

/// Serves a connection until it ends, or the server closes and the request under way is done.
pub(super) async fn serve(
    stream: impl Stream,
    app: Router,
    link: Link,
    closing: CancellationToken,
) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        answer(app.clone(), link.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    app: Router,
    link: Link,
    request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(link);
    app.oneshot(request).await
}

/// Tells a connection too many so, and drops it.
pub(super) async fn turn_away(mut stream: impl Stream) {
    let telling = async {
        stream.write_all(TURNED_AWAY.as_bytes()).await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(limits::ACCEPT_PAUSE, telling).await {
        Ok(Ok(())) => tracing::warn!("a connection was turned away: too many are open"),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("a connection was dropped: too many are open");
        }
    }
}

//! Counts the bytes that come out of a stream, and ends it when too many have.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The bytes that one agent may move, over all of its connections.
#[derive(Debug)]
pub(super) struct ByteBudget {
    used: AtomicU64,
    limit: AtomicU64,
}

impl ByteBudget {
    pub(super) fn new(limit: Option<u64>) -> Self {
        let (used, limit) = (AtomicU64::new(0), AtomicU64::new(limit.unwrap_or(u64::MAX)));
        Self { used, limit }
    }

    pub(super) fn set_limit(&self, limit: Option<u64>) {
        let limit = limit.unwrap_or(u64::MAX);
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn is_spent(&self) -> bool {
        self.used() >= self.limit()
    }

    fn spend(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A stream whose reads are counted.
pub(super) struct Metered {
    stream: TcpStream,
    count: u64,
    shared: Arc<AtomicU64>,
    budget: Arc<ByteBudget>,
}

impl Metered {
    pub(super) fn new(stream: TcpStream, budget: &Arc<ByteBudget>) -> Self {
        Self {
            stream,
            count: 0,
            shared: Arc::default(),
            budget: Arc::clone(budget),
        }
    }

    /// What was read so far, to be looked at while somebody else holds the stream.
    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared)
    }

    /// Counts bytes that were read before the stream was metered.
    pub(super) fn add(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.count += bytes;
        self.shared.store(self.count, Ordering::Relaxed);
        self.budget.spend(bytes);
    }

    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.budget.is_spent() {
            return Poll::Ready(Err(io::Error::other("the bytes of the agent are spent")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.add(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

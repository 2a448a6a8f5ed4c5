//! The body of an answer to an agent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Pieces of a stream that wait for an agent to read them. With few of them, an agent that reads
/// slowly slows the provider down.
const PIECES: usize = 2;

/// The body of an answer.
pub(super) enum AnswerBody {
    /// In one piece.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream(mpsc::Receiver<Piece>),
    /// What came has to be written before it breaks off.
    Breaking,
}

/// A piece of a stream.
pub(super) enum Piece {
    /// More of it.
    More(Bytes),
    /// It breaks off, and the agent is to know.
    Broken,
}

/// The stream was not read to its end, in the provider's place or ours.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BrokeOff;

impl AnswerBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    pub(super) fn stream() -> (mpsc::Sender<Piece>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES);
        (sender, Self::Stream(pieces))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => match pieces.poll_recv(context) {
                Poll::Ready(Some(Piece::More(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(Piece::Broken)) => {
                    // The server writes what it has when there is nothing more for now.
                    *self = Self::Breaking;
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            },
            Self::Breaking => Poll::Ready(Some(Err(BrokeOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Stream(_) | Self::Breaking => SizeHint::default(),
        }
    }
}

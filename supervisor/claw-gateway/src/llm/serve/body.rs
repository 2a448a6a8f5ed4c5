//! The body of an answer to an agent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

/// Pieces of a stream that wait for an agent to read them. With few of them, an agent that reads
/// slowly slows the provider down.
const PIECES: usize = 2;

/// The body of an answer.
pub(super) enum AnswerBody {
    /// In one piece.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream(mpsc::Receiver<Piece>),
    /// In one piece, and for this request alone: the answer was ended before its time, or nobody
    /// judged it.
    Once(Option<Bytes>),
    /// What came has to be written before it breaks off.
    Breaking,
}

/// A piece of a stream.
pub(super) enum Piece {
    /// More of it.
    More(Bytes),
    /// It is ended here, before its time, with these bytes.
    Cut(Bytes),
    /// It breaks off after these bytes, and the agent is to know.
    Broken(Bytes),
}

/// The way to the agent that reads a stream.
pub(super) struct Reader {
    pieces: mpsc::Sender<Piece>,
    /// Room for the last piece: nothing that has ended waits for an agent to read.
    last: mpsc::OwnedPermit<Piece>,
}

/// Why a piece was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    HungUp,
    /// It has read nothing for as long as a stream may be silent.
    Stalled,
}

impl Reader {
    /// Passes a piece on as soon as there is room for it.
    pub(super) async fn send(&self, bytes: Bytes, within: Duration) -> Result<(), NotTaken> {
        let piece = Piece::More(bytes);
        let sent = self.pieces.send_timeout(piece, within).await;
        sent.map_err(|error| match error {
            SendTimeoutError::Closed(_) => NotTaken::HungUp,
            SendTimeoutError::Timeout(_) => NotTaken::Stalled,
        })
    }

    /// Ends the stream with a piece, at once.
    pub(super) fn end_with(self, last: Piece) {
        drop(self.last.send(last));
    }

    /// Waits until the agent has hung up.
    pub(super) async fn hung_up(&self) {
        self.pieces.closed().await;
    }
}

/// The stream was not read to its end, in the provider's place or ours.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BrokeOff;

impl AnswerBody {
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    pub(super) fn stream() -> (Reader, Self) {
        let (sender, pieces) = mpsc::channel(PIECES + 1);
        let last = sender.clone().try_reserve_owned();
        let reader = Reader {
            pieces: sender,
            last: last.expect("nothing is in it yet"),
        };
        (reader, Self::Stream(pieces))
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
            Self::Whole(bytes) | Self::Once(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Stream(pieces) => match pieces.poll_recv(context) {
                Poll::Ready(Some(Piece::More(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Poll::Ready(Some(Piece::Cut(last))) => {
                    *self = Self::Once(None);
                    Poll::Ready(Some(Ok(Frame::data(last))))
                }
                Poll::Ready(Some(Piece::Broken(last))) => {
                    *self = Self::Breaking;
                    if !last.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(last))));
                    }
                    // The server writes what it has when there is nothing more for now.
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
        matches!(self, Self::Whole(None) | Self::Once(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) | Self::Once(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Stream(_) | Self::Breaking => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_stream_waits_for_no_reader() {
        let (reader, mut body) = AnswerBody::stream();
        let idle = Duration::from_secs(60);
        for _ in 0..PIECES {
            let sent = reader.send(Bytes::from_static(b"more"), idle).await;
            assert_eq!(sent, Ok(()));
        }
        let stalled = reader.send(Bytes::from_static(b"lost"), idle).await;
        assert_eq!(stalled, Err(NotTaken::Stalled));
        reader.end_with(Piece::Broken(Bytes::new()));
        for _ in 0..PIECES {
            let frame = body.frame().await.expect("a piece").expect("no break");
            assert_eq!(frame.into_data().expect("data"), "more");
        }
        assert!(body.frame().await.expect("an end").is_err());
    }
}

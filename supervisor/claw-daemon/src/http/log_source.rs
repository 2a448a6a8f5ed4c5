//! Pages of a log, read on a thread that may block, at the pace of the reader.

use futures_util::stream::BoxStream;

use super::limits;
use super::ports::{LogError, LogPage, LogQuestion};
use super::problem::ApiError;
use super::state::ApiState;
use crate::api::{Code, LogLine, Run};
use claw_core::RunId;

/// What is read, and until when.
pub(super) struct Source {
    state: ApiState,
    question: LogQuestion,
    end: FollowEnd,
}

/// When reading ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowEnd {
    /// With what is there.
    AtOnce,
    /// When a run has ended and its output was read.
    WithRun(RunId),
    /// When the reader goes away.
    Never,
}

impl Source {
    pub(super) const fn new(state: ApiState, question: LogQuestion, end: FollowEnd) -> Self {
        Self {
            state,
            question,
            end,
        }
    }

    async fn page(&self) -> Result<LogPage, ApiError> {
        let read = std::sync::Arc::clone(&self.state.ports.logs);
        let question = self.question.clone();
        let reading = tokio::task::spawn_blocking(move || read(&question));
        let read = reading
            .await
            .map_err(|_panicked| ApiError::new(Code::Internal, "reading the log ended by a bug"))?;
        read.map_err(|error| match error {
            LogError::Cursor(_) => ApiError::bad_parameter("cursor", error.to_string()),
            LogError::Failed(_) => ApiError::new(Code::LogUnavailable, error.to_string()),
        })
    }

    /// Sets the question to what comes after a page. The whole tail is in the first page.
    fn go_on_after(&mut self, page: &LogPage) {
        self.question.after = Some(page.cursor.clone());
        self.question.tail = None;
    }

    /// Whether nothing more will come. Asked before the last look at the log, so that what was
    /// written before the end is still read.
    async fn is_over(&self) -> bool {
        match self.end {
            FollowEnd::AtOnce => true,
            FollowEnd::Never => false,
            FollowEnd::WithRun(id) => match self.state.ports.journal.run.call(id).await {
                Ok(Some(run)) => Run::from(&run).state.is_final(),
                Ok(None) => true,
                Err(_later) => false,
            },
        }
    }
}

/// Reads the first page at once, so that its failure is a problem and not a broken stream.
pub(super) async fn pages(
    mut source: Source,
) -> Result<BoxStream<'static, Vec<LogLine>>, ApiError> {
    let mut over = source.is_over().await;
    let first = source.page().await?;
    let stream = async_stream::stream! {
        let mut page = first;
        loop {
            source.go_on_after(&page);
            if !page.lines.is_empty() {
                yield page.lines;
            }
            if !page.full {
                if over {
                    return;
                }
                tokio::time::sleep(limits::LOG_POLL).await;
                over = source.is_over().await;
            }
            page = match source.page().await {
                Ok(page) => page,
                Err(error) => {
                    let detail = &error.problem().detail;
                    tracing::warn!(agent = %source.question.agent, "log stream ended: {detail}");
                    return;
                }
            };
        }
    };
    Ok(Box::pin(stream))
}

//! Pages of an agent's log.

use std::path::Path;
use std::time::SystemTime;

use claw_drivers::log::{
    Cursor, Limits, LogItem, LogQuery, LogRange, LogReader, Page, PageEnd, ReadError, Stream,
    StreamSet, Unterminated,
};

use crate::api::{LogLine, LogStream, Time};
use crate::http::ports::{Following, LogError, LogPage, LogQuestion};

/// One page: enough to keep a connection busy, little enough to hold in memory for many readers.
const PAGE: Limits = Limits {
    lines: 2000,
    bytes: 1 << 20,
};

/// Reads a page; blocks on the disk.
pub(super) fn read(data_dir: &Path, question: &LogQuestion) -> Result<LogPage, LogError> {
    let dir = data_dir
        .join("agents")
        .join(question.agent.as_str())
        .join("log");
    let query = query(question)?;
    // A tail is one page, whatever its size: it is bounded by its own number.
    let limits = match question.tail {
        Some(lines) => Limits {
            lines: lines.max(1),
            bytes: usize::MAX,
        },
        None => PAGE,
    };
    let page = LogReader::open(dir)
        .read(&query, limits)
        .map_err(|error| failed(&error))?;
    Ok(render(question, &page))
}

fn query(question: &LogQuestion) -> Result<LogQuery, LogError> {
    let after = match &question.after {
        None => None,
        Some(text) => {
            let cursor = text.parse::<Cursor>();
            Some(cursor.map_err(|_error| LogError::Cursor(text.clone()))?)
        }
    };
    let range = question.range.map(|range| LogRange {
        lane: range.lane,
        from: range.from,
        to: Some(range.to),
    });
    Ok(LogQuery {
        tail: question.tail,
        since: question.since.map(SystemTime::from),
        until: question.until.map(SystemTime::from),
        after,
        range,
        streams: streams(&question.streams),
        unterminated: match question.follow {
            Following::Yes => Unterminated::Hold,
            Following::No => Unterminated::Yield,
        },
    })
}

fn streams(wanted: &[LogStream]) -> StreamSet {
    let stream = |stream: &LogStream| match stream {
        LogStream::Stdout => Stream::Stdout,
        LogStream::Stderr => Stream::Stderr,
        LogStream::Supervisor => Stream::Supervisor,
    };
    let mut wanted = wanted.iter().map(stream);
    let Some(first) = wanted.next() else {
        return StreamSet::ALL;
    };
    wanted.fold(StreamSet::only(first), StreamSet::with)
}

fn render(question: &LogQuestion, page: &Page) -> LogPage {
    let mut last = Time::UNIX_EPOCH;
    let line = |item: &LogItem| {
        let (at, stream, text, continues) = match item {
            LogItem::Line(line) => {
                last = Time::try_from(line.at).unwrap_or(Time::UNIX_EPOCH);
                (
                    last,
                    stream_of(line.stream),
                    line.text_lossy().into_owned(),
                    line.partial,
                )
            }
            LogItem::Gap(gap) => {
                let text = format!(
                    "[clawctl: {} bytes were rotated away before this]",
                    gap.bytes
                );
                (last, LogStream::Supervisor, text, false)
            }
        };
        let agent = question.agent.to_string();
        LogLine {
            agent,
            at,
            stream,
            text,
            continues,
            cursor: None,
        }
    };
    let mut lines: Vec<LogLine> = page.items.iter().map(line).collect();
    let cursor = page.cursor.to_string();
    if let Some(last) = lines.last_mut() {
        last.cursor = Some(cursor.clone());
    }
    LogPage {
        lines,
        cursor,
        full: page.end == PageEnd::Limit,
    }
}

const fn stream_of(stream: Stream) -> LogStream {
    match stream {
        Stream::Stdout => LogStream::Stdout,
        Stream::Stderr => LogStream::Stderr,
        Stream::Supervisor => LogStream::Supervisor,
    }
}

fn failed(error: &ReadError) -> LogError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    LogError::Failed(format!("{error}{}", cause.unwrap_or_default()))
}

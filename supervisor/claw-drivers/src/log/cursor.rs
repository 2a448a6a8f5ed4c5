//! A place in a log, to resume reading at.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::lane::MAX_LANES;
use super::stream::Stream;

/// The most bytes an unfinished line may lie behind the reader's place before it is yielded as
/// partial: while one stream is silent within a line, the other may flood.
pub(crate) const OPEN_LINE_SPAN: u64 = 8 << 20;

/// The cursor before the first byte of every lane.
const START: &str = "start";

/// How far a stream's present line has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LineState {
    /// What comes next begins a line.
    #[default]
    Between,
    /// A line began at this offset and has not been yielded.
    Open(u64),
    /// The reader came in the middle of a line and passes over its rest.
    Skipping,
}

/// A place in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LanePosition {
    /// The absolute offset of the next byte to read.
    pub(crate) next: u64,
    pub(crate) lines: [LineState; 3],
}

impl LanePosition {
    pub(crate) fn at(next: u64) -> Self {
        Self {
            next,
            lines: [LineState::Between; 3],
        }
    }
}

/// A place in a log: one offset for each lane, and the lines that were open there. The default is
/// the beginning: the oldest byte kept of every lane.
///
/// The text form is compact and fits a URL as it is: `0.1234.o1200_1.55` is offset 1234 of lane 0
/// within a line of standard output that began at 1200, and offset 55 of lane 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub(crate) lanes: BTreeMap<u32, LanePosition>,
}

/// The text is not a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a log cursor")]
pub struct CursorError {
    text: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lanes.is_empty() {
            return formatter.write_str(START);
        }
        for (i, (lane, position)) in self.lanes.iter().enumerate() {
            let separator = if i == 0 { "" } else { "_" };
            write!(formatter, "{separator}{lane}.{}", position.next)?;
            for stream in Stream::ALL {
                let letter = letter(stream);
                match position.lines[stream.slot()] {
                    LineState::Between => {}
                    LineState::Open(start) => write!(formatter, ".{letter}{start}")?,
                    LineState::Skipping => write!(formatter, ".{letter}x")?,
                }
            }
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text == START {
            return Ok(Self::default());
        }
        let mut lanes = BTreeMap::new();
        for part in text.split('_') {
            let parsed = parse_lane(part).filter(|(lane, _)| !lanes.contains_key(lane));
            let Some((lane, position)) = parsed else {
                let text = text.chars().take(80).collect();
                return Err(CursorError { text });
            };
            lanes.insert(lane, position);
        }
        Ok(Self { lanes })
    }
}

fn parse_lane(text: &str) -> Option<(u32, LanePosition)> {
    let mut fields = text.split('.');
    let lane = u32::try_from(parse_number(fields.next()?)?).ok()?;
    let mut position = LanePosition::at(parse_number(fields.next()?)?);
    for field in fields {
        let stream = Stream::ALL
            .into_iter()
            .find(|stream| field.starts_with(letter(*stream)))?;
        let state = match field.get(1..)? {
            "x" => LineState::Skipping,
            start => LineState::Open(parse_number(start)?),
        };
        if let LineState::Open(start) = state
            && position
                .next
                .checked_sub(start)
                .is_none_or(|span| span > 2 * OPEN_LINE_SPAN)
        {
            return None;
        }
        position.lines[stream.slot()] = state;
    }
    (lane < MAX_LANES).then_some((lane, position))
}

/// Parses plain digits; unlike `u64::from_str` it takes no sign.
fn parse_number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn letter(stream: Stream) -> char {
    match stream {
        Stream::Stdout => 'o',
        Stream::Stderr => 'e',
        Stream::Supervisor => 's',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        for text in [
            "start",
            "0.0",
            "0.1234.o1200.ex_1.55",
            "255.18446744073709551615",
        ] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        let texts = [
            "",
            "0",
            "0.",
            "0.+1",
            "256.0",
            "0.1_0.2",
            "0.5.o9",
            "0.5.q1",
            "0.99999999.o0",
        ];
        for text in texts {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
        assert!("0.5.é".parse::<Cursor>().is_err());
    }
}

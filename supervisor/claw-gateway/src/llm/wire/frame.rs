//! Server-sent events (WHATWG HTML, section 9.2), cut into frames that stay the bytes that came.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// The longest frame, in bytes. The last event of a response repeats all of it, the request's tools
/// included.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;

/// A stream with a frame of more than [`MAX_FRAME`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {MAX_FRAME} bytes")]
pub struct FrameTooLong;

/// One event with the blank line that ends it, or comments alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
}

impl Frame {
    /// A frame of our own. An empty `event` stands for none.
    #[must_use]
    pub fn new(event: &str, data: &str) -> Self {
        let mut text = String::with_capacity(event.len() + data.len() + 16);
        if !event.is_empty() {
            text.push_str("event: ");
            text.push_str(event);
            text.push('\n');
        }
        push_data(&mut text, data);
        text.push('\n');
        Self { bytes: text.into() }
    }

    /// The bytes, as they came.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The name of the event; empty when it has none.
    #[must_use]
    pub fn event(&self) -> Cow<'_, str> {
        self.fields("event").last().unwrap_or_default()
    }

    /// The data, lines joined; empty when there is none, as in a frame of comments.
    #[must_use]
    pub fn data(&self) -> Cow<'_, str> {
        let mut lines = self.fields("data");
        let first = lines.next().unwrap_or_default();
        let mut joined: Option<String> = None;
        for line in lines {
            let joined = joined.get_or_insert_with(|| first.as_ref().to_owned());
            joined.push('\n');
            joined.push_str(&line);
        }
        joined.map_or(first, Cow::Owned)
    }

    /// The frame with other data; its event, id and comments stay.
    #[must_use]
    pub fn with_data(&self, data: &str) -> Self {
        let mut text = String::with_capacity(data.len() + 64);
        for line in lines(&self.bytes) {
            if !line.is_empty() && field(line).0 != b"data" {
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
            }
        }
        push_data(&mut text, data);
        text.push('\n');
        Self { bytes: text.into() }
    }

    /// The frame with a part of itself replaced.
    pub(super) fn with_part(&self, part: &str, new: &str) -> Self {
        let start = part.as_ptr().addr() - self.bytes.as_ptr().addr();
        let (before, after) = (&self.bytes[..start], &self.bytes[start + part.len()..]);
        Self {
            bytes: [before, new.as_bytes(), after].concat().into(),
        }
    }

    fn fields(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        lines(&self.bytes)
            .map(field)
            .filter(move |(key, _)| *key == name.as_bytes())
            .map(|(_, value)| text(value))
    }
}

/// Without a second look at what is UTF-8, as nearly all is.
fn text(value: &[u8]) -> Cow<'_, str> {
    str::from_utf8(value).map_or_else(|_other| String::from_utf8_lossy(value), Cow::Borrowed)
}

fn push_data(text: &mut String, data: &str) {
    for line in data.split('\n') {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
}

/// The lines without their ends: LF, CR, or CR and LF. A byte order mark before the first is none of
/// it.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        let ended = match &rest[end..] {
            [b'\r', b'\n', ..] => 2,
            [_, ..] => 1,
            [] => 0,
        };
        rest = &rest[end + ended..];
        Some(line)
    })
}

/// A line's field and value. A comment begins with a colon, so its field is empty.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

/// Takes a stream in pieces of any size, and gives its frames.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
    /// How much of the buffer is whole lines of the frame that has not ended.
    read: usize,
    /// How much of the buffer has no further end of a line, so that long lines are searched once.
    searched: usize,
    /// How much of the buffer is blank lines before the frame.
    blank: usize,
}

impl Frames {
    /// Takes more of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; `None` when more of the stream is needed.
    ///
    /// # Errors
    /// When the frame is longer than [`MAX_FRAME`]; the stream cannot be read on then.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameTooLong> {
        while let Some((line, after)) = self.line_end() {
            let empty = line == self.read;
            let before = self.read;
            self.read = after;
            self.searched = after;
            if empty && before == self.blank {
                self.blank = after;
            } else if empty {
                return self.taken().map(Some);
            }
        }
        if self.buffer.len() > MAX_FRAME {
            return Err(FrameTooLong);
        }
        Ok(None)
    }

    /// Bytes that came and are not in a frame yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// What is left when the stream has ended: a frame without its blank line, if there is anything.
    /// All whole frames have to be taken before.
    #[must_use]
    pub fn finish(self) -> Option<Frame> {
        (!self.buffer.is_empty()).then(|| Frame {
            bytes: self.buffer.freeze(),
        })
    }

    /// Where the next line ends, and where the one after it begins. A CR at the very end may have an
    /// LF behind it that has not come, so it does not end a line yet.
    fn line_end(&mut self) -> Option<(usize, usize)> {
        let Some(found) = memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.searched + found;
        self.searched = line;
        match &self.buffer[line..] {
            [b'\r'] => None,
            [b'\r', b'\n', ..] => Some((line, line + 2)),
            _ => Some((line, line + 1)),
        }
    }

    fn taken(&mut self) -> Result<Frame, FrameTooLong> {
        let bytes = self.buffer.split_to(self.read).freeze();
        (self.read, self.searched, self.blank) = (0, 0, 0);
        if bytes.len() > MAX_FRAME {
            return Err(FrameTooLong);
        }
        Ok(Frame { bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut frames = Frames::default();
        let mut taken = Vec::new();
        for chunk in chunks {
            frames.push(chunk);
            while let Some(frame) = frames.next_frame().expect("short frames") {
                taken.push(frame);
            }
        }
        taken.extend(frames.finish());
        taken
    }

    fn read(text: &str) -> Vec<(String, String)> {
        frames(&[text.as_bytes()])
            .iter()
            .map(|frame| (frame.event().into_owned(), frame.data().into_owned()))
            .collect()
    }

    fn pair(event: &str, data: &str) -> (String, String) {
        (event.to_owned(), data.to_owned())
    }

    #[test]
    fn all_line_ends_are_ends() {
        for end in ["\n", "\r", "\r\n"] {
            let text =
                "event: a\ndata: 1\ndata:2\n\n: still here\n\ndata\nid: 7\n\n".replace('\n', end);
            assert_eq!(
                read(&text),
                [pair("a", "1\n2"), pair("", ""), pair("", "")],
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_mark_of_byte_order_and_blank_lines_are_no_fields() {
        assert_eq!(
            read("\u{feff}data: 1\n\n\n\ndata: 2\n\n"),
            [pair("", "1"), pair("", "2")]
        );
    }

    #[test]
    fn other_data_leaves_the_rest_of_a_frame() {
        let frame = &frames(&[b": hi\r\nevent: e\r\ndata: 1\r\ndata: 2\r\nid: 9\r\n\r\n"])[0];
        assert_eq!(
            frame.with_data("x\ny").bytes().as_ref(),
            b": hi\nevent: e\nid: 9\ndata: x\ndata: y\n\n"
        );
    }

    #[test]
    fn a_frame_without_an_end_is_bounded() {
        let mut endless = Frames::default();
        endless.push(&vec![b'x'; MAX_FRAME]);
        assert_eq!(endless.next_frame(), Ok(None));
        endless.push(b"x");
        assert_eq!(endless.next_frame(), Err(FrameTooLong));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames_and_no_byte_is_lost(
            lines in proptest::collection::vec(
                prop_oneof!["", "data: .{0,8}", "event: [a-z]{1,5}", ":.{0,4}", "\\PC{0,6}"], 0..20),
            ends in proptest::collection::vec(prop_oneof!["\n", "\r", "\r\n"], 20),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let text: String = lines.iter().zip(&ends).map(|(line, end)| format!("{line}{end}")).collect();
            let bytes = text.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let chunks: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let split = frames(&chunks);
            prop_assert_eq!(&split, &frames(&[bytes]));
            let joined: Vec<u8> = split.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
            prop_assert_eq!(joined, bytes);
        }

        #[test]
        fn any_bytes_are_frames(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for frame in frames(&[&bytes]) {
                let _read_without_panic = (frame.event().len(), frame.data().len());
            }
        }
    }
}

//! What a command writes, as far as it is kept.

use bollard::container::LogOutput;

/// Both streams, with one bound for the two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) truncated: bool,
    room: usize,
}

impl Capture {
    pub(super) fn new(most: u64) -> Self {
        Self {
            room: usize::try_from(most).unwrap_or(usize::MAX),
            ..Self::default()
        }
    }

    /// Takes a piece; what goes over the bound is not kept.
    pub(super) fn take(&mut self, piece: &LogOutput) {
        let (stream, bytes) = match piece {
            LogOutput::StdErr { message } => (&mut self.stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                (&mut self.stdout, message)
            }
            LogOutput::StdIn { .. } => return,
        };
        let kept = bytes.len().min(self.room);
        stream.extend_from_slice(&bytes[..kept]);
        self.room -= kept;
        self.truncated |= kept < bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_share_one_bound() {
        let mut capture = Capture::new(5);
        let out = |text: &'static str| LogOutput::StdOut {
            message: text.into(),
        };
        let err = |text: &'static str| LogOutput::StdErr {
            message: text.into(),
        };
        capture.take(&out("abc"));
        assert!(!capture.truncated);
        capture.take(&err("de"));
        assert!(!capture.truncated);
        capture.take(&out("f"));
        assert!(capture.truncated);
        assert_eq!(capture.stdout, b"abc");
        assert_eq!(capture.stderr, b"de");
    }
}

//! Why output could not be written.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// The reason a log cannot be written at present, as the operating system names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFailure(Errno);

impl LogFailure {
    /// Returns the error number, for example `ENOSPC`.
    #[must_use]
    pub fn errno(self) -> i32 {
        self.0 as i32
    }
}

impl From<&io::Error> for LogFailure {
    fn from(error: &io::Error) -> Self {
        // Errors made by the standard library carry no number; a write of nothing is one.
        Self(Errno::from_raw(
            error.raw_os_error().unwrap_or(nix::libc::EIO),
        ))
    }
}

impl fmt::Display for LogFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.desc();
        // "No space left on device" reads better inside a sentence in lower case; "I/O error"
        // stays as it is.
        let mut letters = text.chars();
        match (letters.next(), letters.clone().next()) {
            (Some(first), Some(second)) if second.is_lowercase() => {
                write!(formatter, "{}{}", first.to_lowercase(), letters.as_str())
            }
            _ => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_fragments_of_a_sentence() {
        let display = |errno| LogFailure(errno).to_string();
        assert_eq!(display(Errno::ENOSPC), "no space left on device");
        assert_eq!(display(Errno::EIO), "I/O error");
        assert_eq!(display(Errno::EFBIG), "file too large");
    }
}

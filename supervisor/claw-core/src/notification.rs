//! What an agent says on its notify socket, after sd_notify(3).
//!
//! A datagram is a list of `KEY=value` lines. Parsing is total and bounded: whatever an agent
//! sends, the answer is a [`Parsed`] of bounded size, and what was left out is counted. As in
//! systemd the first valid value of a key counts, and private keys begin with `X_`.

use std::collections::BTreeMap;
use std::time::Duration;

/// The largest datagram that is looked at, in bytes. systemd takes 4 KiB and real messages have
/// some hundred bytes; this leaves room for extensions, while one receive buffer of this size
/// does for the whole daemon. Receive with room for one byte more, to tell a longer datagram.
pub const MAX_DATAGRAM: usize = 64 * 1024;

/// The most characters of `STATUS=` that are kept: one line of a wide terminal.
pub const MAX_STATUS_CHARS: usize = 256;

/// The most private keys of one message that are kept.
pub const MAX_EXTENSIONS: usize = 32;

/// The longest private key or value that is kept, in bytes.
pub const MAX_EXTENSION_BYTES: usize = 4096;

/// Longer spans count as this one, so that adding one to a clock cannot overflow.
pub const MAX_SPAN: Duration = Duration::from_secs(366 * 24 * 3600);

/// The largest error number of Linux.
const MAX_ERRNO: u16 = 4095;

/// The prefix of our private keys.
const EXTENSION_PREFIX: &str = "X_OPENCLAW_";

/// Keys of sd_notify(3) that mean something to systemd and nothing to us: they pass file
/// descriptors or D-Bus and Varlink errors, or change who may notify.
const UNSUPPORTED: [&str; 11] = [
    "BUSERROR",
    "EXIT_STATUS",
    "FDNAME",
    "FDPOLL",
    "FDSTORE",
    "FDSTOREREMOVE",
    "INVOCATION_ID",
    "MAINPIDFD",
    "MAINPIDFDID",
    "NOTIFYACCESS",
    "VARLINKERROR",
];

/// What became of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It was read; some of its lines may have been left out.
    Message(Notification, Ignored),
    /// `BARRIER=1`: the sender waits until the file descriptor sent along is closed.
    Barrier,
    /// Nothing of it counts.
    Refused(Refusal),
}

/// Why nothing of a datagram counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is longer than [`MAX_DATAGRAM`].
    TooLong,
    /// It contains a NUL byte before its end.
    EmbeddedNul,
    /// It mixes `BARRIER=1` with other lines.
    BarrierNotAlone,
}

/// How many lines of a message were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Lines with a key that is not known, or with none.
    pub unknown: usize,
    /// Lines with a key of systemd that has no meaning here.
    pub unsupported: usize,
    /// Lines with a known key and an impossible value: not UTF-8, not a number, out of range.
    pub invalid: usize,
    /// Lines with a key that came before.
    pub repeated: usize,
}

/// What an agent says about itself. Fields that were not sent are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// Where in its life the agent is.
    pub lifecycle: Option<Lifecycle>,
    /// One line for people: at most [`MAX_STATUS_CHARS`], without control characters.
    pub status: Option<String>,
    /// The errno-style number of what went wrong, at most 4095.
    pub errno: Option<u16>,
    /// The process to watch, if not the one that was started; never 0.
    pub main_pid: Option<u32>,
    /// A sign of life, or the opposite.
    pub watchdog: Option<WatchdogSignal>,
    /// The longest time from now on between two signs of life.
    pub watchdog_interval: Option<Duration>,
    /// How much longer, from now, the present start, stop or run may take.
    pub extend_timeout: Option<Duration>,
    /// The agent wishes its earlier failures to be forgotten.
    pub restart_reset: Option<RestartReset>,
    /// Keys that begin with `X_OPENCLAW_`, without that prefix, with their values as sent.
    pub extensions: BTreeMap<String, String>,
}

/// Where in its life an agent says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// `READY=1`: started, or reloaded.
    Ready,
    /// `RELOADING=1`: it loads its configuration again; `READY=1` follows.
    Reloading {
        /// When the reload began, by the monotonic clock (since boot); absent in old senders.
        began: Option<Duration>,
    },
    /// `RELOADING=1` and `READY=1` at once: it has loaded its configuration again.
    Reloaded {
        /// As in [`Lifecycle::Reloading`].
        began: Option<Duration>,
    },
    /// `STOPPING=1`: it is on its way out, whatever else it says.
    Stopping,
}

/// The value of `WATCHDOG=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogSignal {
    /// `WATCHDOG=1`: alive.
    Alive,
    /// `WATCHDOG=trigger`: treat me as if I had missed the time. Wins over `Alive`.
    Trigger,
}

/// `RESTART_RESET=1`: count restarts from zero again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartReset;

impl Notification {
    /// Parses a datagram.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Parsed {
        if datagram.len() > MAX_DATAGRAM {
            return Parsed::Refused(Refusal::TooLong);
        }
        // Senders in C may count the string's end in.
        let text = datagram.strip_suffix(&[0]).unwrap_or(datagram);
        if text.contains(&0) {
            return Parsed::Refused(Refusal::EmbeddedNul);
        }
        let lines = || {
            text.split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
        };
        if lines().any(|line| line == b"BARRIER=1") {
            let alone = lines().count() == 1;
            return if alone {
                Parsed::Barrier
            } else {
                Parsed::Refused(Refusal::BarrierNotAlone)
            };
        }
        let mut message = Message::default();
        for line in lines() {
            match message.take(line) {
                Line::Taken => {}
                Line::Unknown => message.ignored.unknown += 1,
                Line::Unsupported => message.ignored.unsupported += 1,
                Line::Invalid => message.ignored.invalid += 1,
                Line::Repeated => message.ignored.repeated += 1,
            }
        }
        message.finish()
    }
}

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Taken,
    Unknown,
    Unsupported,
    Invalid,
    Repeated,
}

/// A message being read: fields that depend on each other are put together at the end.
#[derive(Default)]
struct Message {
    notification: Notification,
    ignored: Ignored,
    ready: Option<()>,
    reloading: Option<()>,
    stopping: Option<()>,
    monotonic: Option<Duration>,
}

impl Message {
    fn take(&mut self, line: &[u8]) -> Line {
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
            return Line::Unknown;
        };
        let Ok(key) = std::str::from_utf8(&line[..equals]) else {
            return Line::Unknown;
        };
        let value = std::str::from_utf8(&line[equals + 1..]).ok();
        let to = &mut self.notification;
        match key {
            "READY" => keep(&mut self.ready, value.and_then(parse_flag)),
            "RELOADING" => keep(&mut self.reloading, value.and_then(parse_flag)),
            "STOPPING" => keep(&mut self.stopping, value.and_then(parse_flag)),
            "MONOTONIC_USEC" => keep(&mut self.monotonic, value.and_then(parse_micros)),
            "STATUS" => keep(&mut to.status, value.map(clean_status)),
            "ERRNO" => keep(&mut to.errno, value.and_then(parse_errno)),
            "MAINPID" => keep(&mut to.main_pid, value.and_then(parse_pid)),
            "WATCHDOG" => keep_watchdog(&mut to.watchdog, value),
            "WATCHDOG_USEC" => keep(&mut to.watchdog_interval, value.and_then(parse_span)),
            "EXTEND_TIMEOUT_USEC" => keep(&mut to.extend_timeout, value.and_then(parse_span)),
            "RESTART_RESET" => {
                let reset = value.and_then(parse_flag).map(|()| RestartReset);
                keep(&mut to.restart_reset, reset)
            }
            // The other value, 1, was looked for before.
            "BARRIER" => Line::Invalid,
            _ if UNSUPPORTED.contains(&key) => Line::Unsupported,
            _ => match key.strip_prefix(EXTENSION_PREFIX) {
                Some(name) => keep_extension(&mut to.extensions, name, value),
                None => Line::Unknown,
            },
        }
    }

    fn finish(mut self) -> Parsed {
        let began = self.monotonic;
        self.notification.lifecycle = match (self.stopping, self.reloading, self.ready) {
            (Some(()), _, _) => Some(Lifecycle::Stopping),
            (None, Some(()), Some(())) => Some(Lifecycle::Reloaded { began }),
            (None, Some(()), None) => Some(Lifecycle::Reloading { began }),
            (None, None, Some(())) => Some(Lifecycle::Ready),
            (None, None, None) => None,
        };
        Parsed::Message(self.notification, self.ignored)
    }
}

fn keep<T>(field: &mut Option<T>, value: Option<T>) -> Line {
    match (&field, value) {
        (_, None) => Line::Invalid,
        (Some(_), Some(_)) => Line::Repeated,
        (None, Some(value)) => {
            *field = Some(value);
            Line::Taken
        }
    }
}

fn keep_watchdog(field: &mut Option<WatchdogSignal>, value: Option<&str>) -> Line {
    match value {
        Some("1") => keep(field, Some(WatchdogSignal::Alive)),
        Some("trigger") => {
            *field = Some(WatchdogSignal::Trigger);
            Line::Taken
        }
        Some(_) | None => Line::Invalid,
    }
}

fn keep_extension(
    extensions: &mut BTreeMap<String, String>,
    name: &str,
    value: Option<&str>,
) -> Line {
    let Some(value) = value else {
        return Line::Invalid;
    };
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let named = !name.is_empty() && name.bytes().all(plain);
    if !named || name.len() > MAX_EXTENSION_BYTES || value.len() > MAX_EXTENSION_BYTES {
        return Line::Invalid;
    }
    if extensions.contains_key(name) {
        return Line::Repeated;
    }
    if extensions.len() >= MAX_EXTENSIONS {
        return Line::Invalid;
    }
    extensions.insert(name.to_owned(), value.to_owned());
    Line::Taken
}

fn clean_status(text: &str) -> String {
    let printable = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    text.chars().take(MAX_STATUS_CHARS).map(printable).collect()
}

fn parse_flag(value: &str) -> Option<()> {
    (value == "1").then_some(())
}

fn parse_errno(value: &str) -> Option<u16> {
    u16::try_from(parse_number(value)?)
        .ok()
        .filter(|errno| *errno <= MAX_ERRNO)
}

fn parse_pid(value: &str) -> Option<u32> {
    let pid = i32::try_from(parse_number(value)?).ok()?;
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

fn parse_micros(value: &str) -> Option<Duration> {
    parse_number(value).map(Duration::from_micros)
}

fn parse_span(value: &str) -> Option<Duration> {
    parse_micros(value).map(|span| span.min(MAX_SPAN))
}

/// Parses plain digits; unlike `u64::from_str` it takes no sign.
fn parse_number(value: &str) -> Option<u64> {
    value
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| value.parse().ok())?
}

#[cfg(test)]
mod tests;

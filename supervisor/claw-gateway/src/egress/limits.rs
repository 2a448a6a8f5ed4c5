//! How much an agent may use its way out.

use std::num::NonZeroU32;
use std::time::Duration;

/// What the window of [`ConnectRate`] is.
const MINUTE: Duration = Duration::from_secs(60);

/// The limits of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections that may be open at a time: `proxy.max_tunnels`.
    pub max_tunnels: u32,
    /// Connections that may be made within a minute: `resources.api_calls_per_minute`.
    pub connects_per_minute: Option<NonZeroU32>,
    /// Bytes that may go through in both directions together, as long as the proxy lives:
    /// `proxy.max_bytes`.
    pub max_bytes: Option<u64>,
    /// How long a client may take to say what it wants.
    pub handshake: Duration,
    /// How long finding a host and connecting to it may take, over all of its addresses.
    pub connect: Duration,
    /// How long a connection stays open when nothing is sent either way.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tunnels: 64,
            connects_per_minute: None,
            max_bytes: None,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            // A model may think for ten minutes before its first byte.
            idle: Duration::from_secs(15 * 60),
        }
    }
}

/// How many connections were made lately. A whole minute's worth may be made at once; they come
/// back one by one. The limit may change from call to call.
#[derive(Debug, Default)]
pub(super) struct ConnectRate {
    /// When, on the caller's clock, all connections will have come back.
    full_at: Duration,
}

impl ConnectRate {
    /// Takes one connection if there is one. `now` is on any clock that does not go back.
    pub(super) fn take(&mut self, limit: NonZeroU32, now: Duration) -> Taken {
        let each = MINUTE / limit.get();
        let full_at = self.full_at.max(now) + each;
        if full_at > now + MINUTE {
            return Taken::No {
                retry_after: full_at - (now + MINUTE),
            };
        }
        self.full_at = full_at;
        Taken::Yes
    }
}

/// Whether a connection could be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No { retry_after: Duration },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_minutes_worth_at_once_and_then_one_by_one() {
        let mut rate = ConnectRate::default();
        for _ in 0..6 {
            assert_eq!(rate.take(limit(6), seconds(100)), Taken::Yes);
        }
        let retry_after = seconds(10);
        assert_eq!(rate.take(limit(6), seconds(100)), Taken::No { retry_after });
        assert_eq!(rate.take(limit(6), seconds(110)), Taken::Yes);
        let retry_after = seconds(5);
        assert_eq!(rate.take(limit(6), seconds(115)), Taken::No { retry_after });
        assert_eq!(
            rate.take(limit(12), seconds(115)),
            Taken::Yes,
            "the limit was raised"
        );
        for _ in 0..6 {
            assert_eq!(rate.take(limit(6), seconds(1000)), Taken::Yes);
        }
    }

    #[test]
    fn the_smallest_and_the_greatest_limit_count() {
        let mut rate = ConnectRate::default();
        assert_eq!(rate.take(limit(1), Duration::ZERO), Taken::Yes);
        let retry_after = MINUTE;
        assert_eq!(
            rate.take(limit(1), Duration::ZERO),
            Taken::No { retry_after }
        );
        let mut rate = ConnectRate::default();
        for _ in 0..1000 {
            assert_eq!(rate.take(limit(u32::MAX), Duration::ZERO), Taken::Yes);
        }
    }
}

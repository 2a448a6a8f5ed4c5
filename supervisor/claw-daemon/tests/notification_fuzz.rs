//! Whatever an agent sends to its notify socket, the parser answers. `CLAW_FUZZ_SECONDS` makes
//! the long test longer.

use std::time::{Duration, Instant};

use claw_core::notification::{MAX_EXTENSIONS, MAX_STATUS_CHARS, Notification, Parsed};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Pieces that mean something, to get deeper than noise does.
const PIECES: [&[u8]; 22] = [
    b"READY=1",
    b"READY=",
    b"RELOADING=1",
    b"MONOTONIC_USEC=",
    b"STOPPING=1",
    b"STATUS=",
    b"ERRNO=",
    b"MAINPID=",
    b"WATCHDOG=1",
    b"WATCHDOG=trigger",
    b"WATCHDOG_USEC=",
    b"EXTEND_TIMEOUT_USEC=",
    b"BARRIER=1",
    b"FDSTORE=1",
    b"X_OPENCLAW_",
    b"\n",
    b"=",
    b"18446744073709551616",
    b"-1",
    b"0",
    b"\xff\xfe",
    b"\0",
];

fn datagrams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES.to_vec()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

#[test]
fn the_parser_survives_for_as_long_as_it_is_asked_to() {
    let seconds = std::env::var("CLAW_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let limit = Duration::from_secs(seconds.unwrap_or(2));
    let mut runner = TestRunner::default();
    let strategy = datagrams();
    let started = Instant::now();
    let mut count = 0_u64;
    while started.elapsed() < limit {
        let tree = strategy
            .new_tree(&mut runner)
            .expect("the strategy rejects nothing");
        let datagram = tree.current();
        if let Parsed::Message(notification, _ignored) = Notification::parse(&datagram) {
            let status = notification.status.as_deref().unwrap_or_default();
            assert!(status.chars().count() <= MAX_STATUS_CHARS, "{datagram:?}");
            assert!(!status.contains('\n'), "{datagram:?}");
            assert!(
                notification.extensions.len() <= MAX_EXTENSIONS,
                "{datagram:?}"
            );
        }
        count += 1;
    }
    assert!(count > 0);
}

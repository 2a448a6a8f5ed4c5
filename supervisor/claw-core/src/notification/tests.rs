//! Tests of the notification parser.

use proptest::prelude::*;

use super::*;

fn message(datagram: impl AsRef<[u8]>) -> (Notification, Ignored) {
    match Notification::parse(datagram.as_ref()) {
        Parsed::Message(notification, ignored) => (notification, ignored),
        other @ (Parsed::Barrier | Parsed::Refused(_)) => panic!("not a message: {other:?}"),
    }
}

fn lifecycle(datagram: &str) -> Option<Lifecycle> {
    message(datagram).0.lifecycle
}

#[test]
fn every_field_is_read() {
    let (notification, ignored) = message(
        "READY=1\nSTATUS=up and running\nERRNO=2\nMAINPID=4711\nWATCHDOG=1\n\
         WATCHDOG_USEC=30000000\nEXTEND_TIMEOUT_USEC=5000000\nRESTART_RESET=1\n\
         X_OPENCLAW_QUEUE=7=8\n",
    );
    let expected = Notification {
        lifecycle: Some(Lifecycle::Ready),
        status: Some("up and running".to_owned()),
        errno: Some(2),
        main_pid: Some(4711),
        watchdog: Some(WatchdogSignal::Alive),
        watchdog_interval: Some(Duration::from_secs(30)),
        extend_timeout: Some(Duration::from_secs(5)),
        restart_reset: Some(RestartReset),
        extensions: BTreeMap::from([("QUEUE".to_owned(), "7=8".to_owned())]),
    };
    assert_eq!((notification, ignored), (expected, Ignored::default()));
}

#[test]
fn an_empty_datagram_says_nothing() {
    for datagram in ["", "\0", "\n\n\n"] {
        assert_eq!(
            message(datagram),
            (Notification::default(), Ignored::default())
        );
    }
}

#[test]
fn states_sent_together_have_one_meaning() {
    let began = Some(Duration::from_micros(1_234_567));
    let reloading = Lifecycle::Reloading { began };
    assert_eq!(
        lifecycle("RELOADING=1\nMONOTONIC_USEC=1234567"),
        Some(reloading)
    );
    assert_eq!(
        lifecycle("RELOADING=1"),
        Some(Lifecycle::Reloading { began: None })
    );
    assert_eq!(
        lifecycle("READY=1\nRELOADING=1"),
        Some(Lifecycle::Reloaded { began: None })
    );
    assert_eq!(
        lifecycle("READY=1\nRELOADING=1\nSTOPPING=1"),
        Some(Lifecycle::Stopping)
    );
    assert_eq!(lifecycle("MONOTONIC_USEC=5"), None);
}

#[test]
fn a_flag_means_nothing_but_one() {
    for text in [
        "READY=0",
        "READY=",
        "READY=yes",
        "READY=1 ",
        "STOPPING=true",
    ] {
        let invalid = Ignored {
            invalid: 1,
            ..Ignored::default()
        };
        assert_eq!(message(text), (Notification::default(), invalid), "{text}");
    }
    assert_eq!(lifecycle("READY=0\nREADY=1"), Some(Lifecycle::Ready));
}

#[test]
fn numbers_out_of_range_are_left_out_alone() {
    let texts = [
        "MAINPID=0",
        "MAINPID=-1",
        "MAINPID=+1",
        "MAINPID=2147483648",
        "ERRNO=4096",
        "WATCHDOG_USEC=18446744073709551616",
        "EXTEND_TIMEOUT_USEC=5s",
        "MAINPID=",
    ];
    for text in texts {
        let (notification, ignored) = message(format!("{text}\nREADY=1"));
        assert_eq!(
            ignored,
            Ignored {
                invalid: 1,
                ..Ignored::default()
            },
            "{text}"
        );
        let ready = Notification {
            lifecycle: Some(Lifecycle::Ready),
            ..Notification::default()
        };
        assert_eq!(notification, ready, "{text}");
    }
}

#[test]
fn spans_without_end_are_cut_to_one_that_can_be_added_to_a_clock() {
    let (notification, _) = message("WATCHDOG_USEC=18446744073709551615");
    assert_eq!(notification.watchdog_interval, Some(MAX_SPAN));
}

#[test]
fn a_status_is_one_short_printable_line() {
    let (notification, _) = message(format!("STATUS=\x1b[31m{}", "ü".repeat(1000)));
    let status = notification.status.unwrap();
    assert_eq!(status.chars().count(), MAX_STATUS_CHARS);
    assert!(status.starts_with("\u{fffd}[31mü"));
    assert_eq!(message("STATUS=").0.status, Some(String::new()));
}

#[test]
fn text_that_is_not_utf8_costs_its_own_line_only() {
    let (notification, ignored) = message(b"STATUS=\xff\nX_OPENCLAW_A=\xfe\n\xff=1\nREADY=1");
    assert_eq!(
        ignored,
        Ignored {
            invalid: 2,
            unknown: 1,
            ..Ignored::default()
        }
    );
    assert_eq!(notification.lifecycle, Some(Lifecycle::Ready));
}

#[test]
fn the_first_of_a_repeated_key_counts_but_a_trigger_always_does() {
    let (notification, ignored) = message("STATUS=a\nSTATUS=b\nWATCHDOG=1\nWATCHDOG=trigger");
    assert_eq!(notification.status.as_deref(), Some("a"));
    assert_eq!(notification.watchdog, Some(WatchdogSignal::Trigger));
    assert_eq!(
        ignored,
        Ignored {
            repeated: 1,
            ..Ignored::default()
        }
    );
}

#[test]
fn keys_of_systemd_and_unknown_ones_are_counted_apart() {
    let (notification, ignored) =
        message("FDSTORE=1\nFDNAME=x\nNOTIFYACCESS=all\nready=1\nno equals sign\nX_OTHER_A=1\n=1");
    assert_eq!(notification, Notification::default());
    assert_eq!(
        ignored,
        Ignored {
            unsupported: 3,
            unknown: 4,
            ..Ignored::default()
        }
    );
}

#[test]
fn extensions_are_bounded_in_number_and_size() {
    let many: String = (0..100).map(|i| format!("X_OPENCLAW_K{i}=v\n")).collect();
    let (notification, ignored) = message(many);
    assert_eq!(notification.extensions.len(), MAX_EXTENSIONS);
    assert_eq!(ignored.invalid, 100 - MAX_EXTENSIONS);
    let long = format!("X_OPENCLAW_A={}", "v".repeat(MAX_EXTENSION_BYTES + 1));
    assert_eq!(message(long).1.invalid, 1);
    assert_eq!(message("X_OPENCLAW_=1\nX_OPENCLAW_a=1").1.invalid, 2);
}

#[test]
fn a_barrier_comes_alone() {
    assert_eq!(Notification::parse(b"BARRIER=1"), Parsed::Barrier);
    assert_eq!(Notification::parse(b"BARRIER=1\n\0"), Parsed::Barrier);
    let mixed = Notification::parse(b"READY=1\nBARRIER=1");
    assert_eq!(mixed, Parsed::Refused(Refusal::BarrierNotAlone));
    assert_eq!(message("BARRIER=2").1.invalid, 1);
}

#[test]
fn datagrams_too_long_or_with_nul_bytes_are_refused_whole() {
    let refused = |datagram: &[u8]| Notification::parse(datagram);
    assert_eq!(
        refused(b"READY=1\0STATUS=x"),
        Parsed::Refused(Refusal::EmbeddedNul)
    );
    assert_eq!(
        refused(b"READY=1\0\0"),
        Parsed::Refused(Refusal::EmbeddedNul)
    );
    assert_eq!(
        refused(&[b'\n'; MAX_DATAGRAM + 1]),
        Parsed::Refused(Refusal::TooLong)
    );
    assert_eq!(message([b'\n'; MAX_DATAGRAM]).0, Notification::default());
}

/// Writes a notification the way an agent would.
fn render(notification: &Notification) -> String {
    let mut lines = Vec::new();
    let mut reloading = |began: Option<Duration>| {
        lines.push("RELOADING=1".to_owned());
        lines.extend(began.map(|at| format!("MONOTONIC_USEC={}", at.as_micros())));
    };
    match notification.lifecycle {
        None => {}
        Some(Lifecycle::Ready) => lines.push("READY=1".to_owned()),
        Some(Lifecycle::Reloading { began }) => reloading(began),
        Some(Lifecycle::Reloaded { began }) => {
            reloading(began);
            lines.push("READY=1".to_owned());
        }
        Some(Lifecycle::Stopping) => lines.push("STOPPING=1".to_owned()),
    }
    let micros = |key, span: Option<Duration>| span.map(|s| format!("{key}={}", s.as_micros()));
    lines.extend(
        notification
            .status
            .as_ref()
            .map(|status| format!("STATUS={status}")),
    );
    lines.extend(notification.errno.map(|errno| format!("ERRNO={errno}")));
    lines.extend(notification.main_pid.map(|pid| format!("MAINPID={pid}")));
    lines.extend(notification.watchdog.map(|signal| match signal {
        WatchdogSignal::Alive => "WATCHDOG=1".to_owned(),
        WatchdogSignal::Trigger => "WATCHDOG=trigger".to_owned(),
    }));
    lines.extend(micros("WATCHDOG_USEC", notification.watchdog_interval));
    lines.extend(micros("EXTEND_TIMEOUT_USEC", notification.extend_timeout));
    lines.extend(
        notification
            .restart_reset
            .map(|RestartReset| "RESTART_RESET=1".to_owned()),
    );
    let extensions = notification.extensions.iter();
    lines.extend(extensions.map(|(key, value)| format!("X_OPENCLAW_{key}={value}")));
    lines.join("\n")
}

fn span() -> impl Strategy<Value = Option<Duration>> {
    let most = u64::try_from(MAX_SPAN.as_micros()).unwrap();
    prop::option::of((0..=most).prop_map(Duration::from_micros))
}

fn any_lifecycle() -> impl Strategy<Value = Option<Lifecycle>> {
    prop::option::of(prop_oneof![
        Just(Lifecycle::Ready),
        span().prop_map(|began| Lifecycle::Reloading { began }),
        span().prop_map(|began| Lifecycle::Reloaded { began }),
        Just(Lifecycle::Stopping),
    ])
}

fn notification() -> impl Strategy<Value = Notification> {
    let watchdog = prop_oneof![Just(WatchdogSignal::Alive), Just(WatchdogSignal::Trigger)];
    let numbers = (
        prop::option::of(0..=MAX_ERRNO),
        prop::option::of(1..=i32::MAX.unsigned_abs()),
    );
    let extensions = prop::collection::btree_map("[A-Z0-9_]{1,12}", "[^\\p{Cc}]{0,40}", 0..5);
    (
        any_lifecycle(),
        prop::option::of("[^\\p{Cc}]{0,256}"),
        numbers,
        prop::option::of(watchdog),
        (span(), span()),
        prop::option::of(Just(RestartReset)),
        extensions,
    )
        .prop_map(
            |(lifecycle, status, numbers, watchdog, spans, restart_reset, extensions)| {
                Notification {
                    lifecycle,
                    status,
                    errno: numbers.0,
                    main_pid: numbers.1,
                    watchdog,
                    watchdog_interval: spans.0,
                    extend_timeout: spans.1,
                    restart_reset,
                    extensions,
                }
            },
        )
}

/// Lines made of the parser's own words, to reach deeper than random bytes do.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "READY",
            "STATUS",
            "MAINPID",
            "WATCHDOG",
            "WATCHDOG_USEC",
            "ERRNO",
            "FDSTORE",
            "X_OPENCLAW_A",
            "BARRIER",
            "=",
            "=1",
            "\n",
            "\0",
            "trigger",
            "99999999999999999999",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed_and_every_line_is_accounted_for(
        datagram in prop_oneof![likely_bytes(), prop::collection::vec(any::<u8>(), 0..2000)],
    ) {
        let Parsed::Message(notification, ignored) = Notification::parse(&datagram) else {
            return Ok(());
        };
        let lines = datagram.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        let Ignored { unknown, unsupported, invalid, repeated } = ignored;
        prop_assert!(unknown + unsupported + invalid + repeated <= lines);
        let status = notification.status.unwrap_or_default();
        prop_assert!(status.chars().count() <= MAX_STATUS_CHARS);
        prop_assert!(!status.chars().any(char::is_control));
    }

    #[test]
    fn what_an_agent_means_is_what_is_understood(sent in notification()) {
        let parsed = Notification::parse(render(&sent).as_bytes());
        prop_assert_eq!(parsed, Parsed::Message(sent, Ignored::default()));
    }
}

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::death::{SpawnError, SpawnStage};
use crate::order::{Hook, ProbeKind};

const EXIT_1: Cause = Cause::exit(1);
const EXIT_0: Cause = Cause::exit(0);

fn codes() -> ExitCodes {
    ExitCodes {
        success: BTreeSet::from([0]),
        retry: BTreeSet::from([75]),
        fatal: BTreeSet::from([78]),
        again: BTreeSet::from([42]),
    }
}

/// The defaults of the fleet file, without jitter.
fn restart(policy: RestartPolicy) -> Restart {
    Restart {
        policy,
        max_retries: Some(5),
        backoff: Backoff::Exponential,
        initial_delay: Duration::from_secs(5),
        max_delay: Duration::from_secs(300),
        reset_after: Duration::from_secs(3600),
        jitter_percent: 0,
        exit_codes: codes(),
    }
}

fn counters(failures: u32, restarts_in_a_row: u32) -> Counters {
    Counters {
        failures,
        restarts_in_a_row,
    }
}

fn restarted(seconds: u64, counters: Counters) -> Verdict {
    Verdict::Restart {
        delay: Duration::from_secs(seconds),
        counters,
    }
}

fn delays(restart: &Restart, random: u64) -> Vec<u64> {
    (1..=8)
        .map(|nth| delay(restart, nth, random).as_secs())
        .collect()
}

#[test]
fn delays_grow_to_the_cap_and_stay() {
    let mut restart = restart(RestartPolicy::Always);
    assert_eq!(delays(&restart, 0), [5, 10, 20, 40, 80, 160, 300, 300]);
    restart.backoff = Backoff::Linear;
    assert_eq!(delays(&restart, 0), [5, 10, 15, 20, 25, 30, 35, 40]);
    restart.backoff = Backoff::Immediate;
    assert_eq!(delays(&restart, u64::MAX), [0; 8]);
}

#[test]
fn jitter_comes_after_the_cap_and_never_shortens() {
    let mut restart = restart(RestartPolicy::Always);
    restart.jitter_percent = 10;
    assert_eq!(delays(&restart, 0), [5, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(
        delays(&restart, u64::MAX),
        [5, 11, 22, 44, 88, 176, 330, 330]
    );
    assert_eq!(delays(&restart, u64::MAX / 2)[7], 314);
}

#[test]
fn a_service_that_lives_two_seconds_starts_at_most_twelve_times_in_ten_minutes() {
    let mut restart = restart(RestartPolicy::Always);
    restart.max_retries = None;
    let (mut at, mut starts, mut before) = (Duration::ZERO, 0, Counters::default());
    while at < Duration::from_secs(600) {
        starts += 1;
        let verdict = decide(&restart, Mode::Daemon, &EXIT_0, before, 0);
        let Verdict::Restart { delay, counters } = verdict else {
            panic!("{verdict:?}");
        };
        before = counters;
        at += Duration::from_secs(2) + delay;
    }
    assert!(starts <= 12, "{starts} starts");
}

#[test]
fn causes_count_as_what_they_are() {
    let spawn = |stage| Cause::Spawn {
        error: SpawnError {
            stage,
            errno: 2,
            detail: "cannot execute `node`: no such file".to_owned(),
        },
    };
    let detail = String::new();
    let table = [
        (EXIT_0, Class::Success),
        (EXIT_1, Class::Failure),
        (Cause::exit(75), Class::Retry),
        (Cause::exit(78), Class::Fatal),
        (Cause::exit(42), Class::Again),
        (Cause::Signal { signal: 15 }, Class::Failure),
        (Cause::Signal { signal: 13 }, Class::Failure),
        (Cause::Oom { kills: 1 }, Class::Failure),
        (
            Cause::Probe {
                probe: ProbeKind::Liveness,
                detail: detail.clone(),
            },
            Class::Failure,
        ),
        (Cause::Watchdog, Class::Failure),
        (Cause::Protocol, Class::Failure),
        (Cause::StartTimeout, Class::Failure),
        (Cause::RunTimeout, Class::Failure),
        (spawn(SpawnStage::Exec), Class::Failure),
        (spawn(SpawnStage::Engine), Class::Hindered),
        (spawn(SpawnStage::Image), Class::Refused),
        (
            Cause::Hook {
                hook: Hook::PreStart,
                detail,
            },
            Class::Failure,
        ),
        (Cause::Asked, Class::Ordered),
        (Cause::Reconfigured, Class::Ordered),
        (Cause::Replaced, Class::Ordered),
        (Cause::Halted, Class::Ordered),
        (Cause::Lost, Class::Failure),
        (Cause::HostReboot, Class::Again),
    ];
    for (cause, class) in table {
        assert_eq!(classify(&codes(), &cause), class, "{cause:?}");
    }
}

#[test]
fn a_code_in_several_sets_means_the_gravest() {
    let one = BTreeSet::from([1]);
    let mut codes = ExitCodes {
        success: one.clone(),
        retry: one.clone(),
        fatal: one.clone(),
        again: one,
    };
    assert_eq!(classify(&codes, &EXIT_1), Class::Fatal);
    codes.fatal.clear();
    assert_eq!(classify(&codes, &EXIT_1), Class::Retry);
    codes.retry.clear();
    assert_eq!(classify(&codes, &EXIT_1), Class::Again);
    codes.again.clear();
    assert_eq!(classify(&codes, &EXIT_1), Class::Success);
}

#[test]
fn policy_mode_and_class_decide() {
    use Mode::{Daemon, Oneshot};
    use RestartPolicy::{Always, Never, OnFailure};
    let stay = || Verdict::Stay {
        why: StayReason::Policy,
    };
    let failed = || restarted(20, counters(2, 3));
    let table = [
        (Daemon, Always, 0, restarted(20, counters(0, 3))),
        (Daemon, OnFailure, 0, Verdict::Complete),
        (Daemon, Never, 0, Verdict::Complete),
        (Daemon, Always, 1, failed()),
        (Daemon, OnFailure, 1, failed()),
        (Daemon, Never, 1, stay()),
        (Daemon, OnFailure, 75, failed()),
        (Daemon, Never, 75, stay()),
        (Oneshot, Always, 0, Verdict::Complete),
        (Oneshot, OnFailure, 0, Verdict::Complete),
        (Oneshot, Always, 1, failed()),
        (Oneshot, OnFailure, 1, failed()),
        (Oneshot, Never, 1, stay()),
        (Oneshot, Never, 75, failed()),
    ];
    for (mode, policy, code, verdict) in table {
        let cause = Cause::exit(code);
        let found = decide(&restart(policy), mode, &cause, counters(1, 2), 0);
        assert_eq!(found, verdict, "{mode:?} {policy:?} {code}");
    }
}

#[test]
fn one_failure_more_than_max_retries_gives_up() {
    let mut restart = restart(RestartPolicy::OnFailure);
    let verdict = |restart: &Restart, failures| {
        decide(
            restart,
            Mode::Daemon,
            &EXIT_1,
            counters(failures, failures),
            0,
        )
    };
    assert_eq!(verdict(&restart, 4), restarted(80, counters(5, 5)));
    let given_up = Verdict::GiveUp {
        failures: 6,
        why: GiveUpReason::TooManyFailures,
    };
    assert_eq!(verdict(&restart, 5), given_up);
    restart.max_retries = None;
    let most = u32::MAX;
    assert_eq!(
        verdict(&restart, most),
        restarted(300, counters(most, most))
    );
}

#[test]
fn successes_in_between_slow_restarts_down_and_keep_it_from_being_given_up() {
    let restart = restart(RestartPolicy::Always);
    let after_success = decide(&restart, Mode::Daemon, &EXIT_0, counters(5, 5), 0);
    assert_eq!(after_success, restarted(160, counters(0, 6)));
}

#[test]
fn a_fatal_code_gives_up_at_once_and_again_changes_nothing() {
    for policy in [
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ] {
        for mode in [Mode::Daemon, Mode::Oneshot] {
            let decided = |code| {
                decide(
                    &restart(policy),
                    mode,
                    &Cause::exit(code),
                    counters(0, 2),
                    0,
                )
            };
            let given_up = Verdict::GiveUp {
                failures: 1,
                why: GiveUpReason::FatalCode,
            };
            assert_eq!(decided(78), given_up);
            assert_eq!(decided(42), restarted(0, counters(0, 2)));
        }
    }
}

#[test]
fn what_we_ended_ourselves_is_no_failure() {
    let decided = |cause| {
        let restart = restart(RestartPolicy::Always);
        decide(&restart, Mode::Daemon, &cause, counters(5, 5), 0)
    };
    let stay = Verdict::Stay {
        why: StayReason::Ordered,
    };
    assert_eq!(decided(Cause::Asked), stay);
    assert_eq!(decided(Cause::Replaced), stay);
    assert_eq!(decided(Cause::Halted), stay);
    assert_eq!(decided(Cause::Reconfigured), restarted(0, counters(5, 5)));
    assert_eq!(decided(Cause::HostReboot), restarted(0, counters(5, 5)));
}

fn any_duration() -> impl Strategy<Value = Duration> {
    let nanoseconds = any::<u64>().prop_map(Duration::from_nanos);
    let seconds = any::<u64>().prop_map(Duration::from_secs);
    prop_oneof![nanoseconds, seconds, Just(Duration::MAX)]
}

proptest! {
    #[test]
    fn no_delay_is_shorter_than_configured_or_longer_than_the_jitter(
        initial in any_duration(), cap in any_duration(), percent in 0..=100_u8,
        nth in any::<u32>(), random in any::<u64>(), linear in any::<bool>(),
    ) {
        let mut restart = restart(RestartPolicy::Always);
        restart.initial_delay = initial;
        restart.max_delay = cap;
        restart.jitter_percent = percent;
        restart.backoff = if linear { Backoff::Linear } else { Backoff::Exponential };
        let found = delay(&restart, nth, random);
        restart.jitter_percent = 0;
        let least = delay(&restart, nth, random);
        prop_assert!(least <= restart.max_delay);
        prop_assert!(found >= least);
        let most = least.saturating_add(least / 100 * u32::from(percent));
        prop_assert!(found <= most.saturating_add(Duration::from_nanos(100)));
        prop_assert!(delay(&restart, nth.saturating_add(1), 0) >= least);
    }
}

#[test]
fn what_hinders_a_start_delays_it_and_is_never_held_against_the_agent() {
    let cause = |stage| Cause::Spawn {
        error: SpawnError {
            stage,
            errno: 0,
            detail: "the engine does not answer".to_owned(),
        },
    };
    let hindered = cause(SpawnStage::Engine);
    for policy in [
        RestartPolicy::Always,
        RestartPolicy::OnFailure,
        RestartPolicy::Never,
    ] {
        let verdict =
            |cause: &Cause, before| decide(&restart(policy), Mode::Daemon, cause, before, 0);
        assert_eq!(
            verdict(&hindered, counters(5, 2)),
            restarted(20, counters(5, 3))
        );
        let image = cause(SpawnStage::Image);
        assert_eq!(verdict(&image, counters(0, 0)), Verdict::Refuse);
    }
}

#[test]
fn a_failure_laid_to_somebody_else_delays_as_ever_and_is_never_one_too_many() {
    let excused = |restart: &Restart, cause: &Cause, before| {
        decide_excused(restart, Mode::Daemon, cause, before, 0)
    };
    let always = restart(RestartPolicy::Always);
    assert_eq!(
        excused(&always, &EXIT_1, counters(5, 5)),
        restarted(160, counters(5, 6))
    );
    let stays = Verdict::Stay {
        why: StayReason::Policy,
    };
    let never = restart(RestartPolicy::Never);
    assert_eq!(excused(&never, &EXIT_1, counters(0, 0)), stays);
    let fatal = excused(&always, &Cause::exit(78), counters(0, 0));
    assert!(matches!(
        fatal,
        Verdict::GiveUp {
            why: GiveUpReason::FatalCode,
            ..
        }
    ));
}

#[test]
fn a_start_waits_for_money_but_no_longer_than_a_day() {
    use crate::death::NoProgress;
    use crate::models::CallFailure;
    let now = Wall::UNIX_EPOCH;
    let after = |seconds: u64| now + Duration::from_secs(seconds);
    let out_of_money = |resets_at| {
        let detail = "nothing left".to_owned();
        Cause::NoProgress(Box::new(NoProgress {
            failure: CallFailure::OverBudget { detail, resets_at },
            calls: 20,
            since: now,
        }))
    };
    let wait = |cause: &Cause, random| until_money(cause, now, random).as_secs();
    assert_eq!(wait(&out_of_money(Some(after(3600))), 0), 3600);
    assert_eq!(wait(&out_of_money(Some(after(3600))), u64::MAX), 3660);
    assert_eq!(wait(&out_of_money(Some(after(30 * 86_400))), 0), 86_400);
    assert_eq!(wait(&out_of_money(Some(now)), u64::MAX), 0);
    assert_eq!(wait(&out_of_money(None), u64::MAX), 0);
    assert_eq!(wait(&EXIT_1, u64::MAX), 0);
}

#[test]
fn money_that_was_there_again_at_the_end_is_waited_for_by_nobody() {
    use crate::death::NoProgress;
    use crate::models::CallFailure;
    let ended = Wall::UNIX_EPOCH + Duration::from_secs(7200);
    let out_of_money = |resets_at| {
        let detail = "nothing left".to_owned();
        let resets_at = Some(Wall::UNIX_EPOCH + Duration::from_secs(resets_at));
        Cause::NoProgress(Box::new(NoProgress {
            failure: CallFailure::OverBudget { detail, resets_at },
            calls: 20,
            since: Wall::UNIX_EPOCH,
        }))
    };
    let longest = |resets_at| longest_wait_for_money(&out_of_money(resets_at), ended).as_secs();
    assert_eq!(longest(0), 0);
    assert_eq!(longest(7200 + 100), 160);
    assert_eq!(longest(7200 + 30 * 86_400), 86_460);
}

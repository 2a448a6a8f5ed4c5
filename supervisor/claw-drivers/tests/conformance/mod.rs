//! What every driver does alike: the same cases, run against each of them.
//!
//! An agent of a case is a shell script. It finds the directory of the case under the same path
//! wherever it runs.

pub(crate) mod cases;
pub(crate) mod limits;
pub(crate) mod recovery;
pub(crate) mod spec;
pub(crate) mod stage;

/// One test per case, for a platform.
macro_rules! suite {
    ($platform:ty) => {
        $crate::conformance::each! { $platform, cases:
            an_exit_code_is_reported_and_nothing_is_left_after_the_release,
            a_death_by_signal_is_reported_as_one,
            a_real_time_signal_can_be_sent_and_died_of,
            a_stop_signal_lets_the_agent_end_as_it_likes,
            a_kill_ends_the_whole_tree,
            what_outlives_the_main_process_is_ended,
            a_frozen_tree_stands_still_and_goes_on_after,
            each_stream_is_kept_in_order_and_the_report_says_where,
            a_flood_arrives_whole,
            a_missing_program_is_named,
            a_generation_is_started_once,
            an_agent_knows_who_it_is,
            a_payload_is_on_standard_input,
            a_kill_that_comes_before_the_start_is_not_lost,
            a_command_that_checks_is_judged_by_its_end,
        }
        $crate::conformance::each! { $platform, recovery:
            a_new_supervisor_takes_over_what_lives,
            an_end_while_nobody_watched_is_known,
            output_goes_on_where_it_was_left,
            a_start_that_never_was_and_one_of_another_boot_are_told_apart,
            what_belongs_to_no_open_instance_is_ended,
            a_crash_at_any_moment_of_a_start_leaves_nothing_unknown,
        }
        $crate::conformance::each! { $platform, limits:
            a_main_process_that_takes_too_much_memory_is_killed_and_counted,
            a_child_killed_for_memory_is_counted,
            a_fork_bomb_stops_at_its_limit,
            usage_is_told,
        }
    };
}

macro_rules! each {
    ($platform:ty, $group:ident: $($case:ident,)*) => {
        mod $group {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() {
                    type Stage = $crate::conformance::stage::Stage<$platform>;
                    if let Some(stage) = Stage::set(stringify!($case)).await {
                        $crate::conformance::$group::$case(stage).await;
                    }
                }
            )*
        }
    };
}

pub(crate) use {each, suite};

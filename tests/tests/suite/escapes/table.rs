//! Where each of the 45 kinds of attempts is made: at every place by an agent that tries them all,
//! or by agents of their own.

use super::rows::ROWS;
use crate::fleet::root;

/// How many kinds there are.
const KINDS: u32 = 45;

/// The tests that have an agent make every attempt of the list, one for each place.
const LISTS: [&str; 7] = [
    "process_escapes.rs no_attempt_leads_out_of_a_sandbox_of_root",
    "process_escapes.rs no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user",
    "process_escapes.rs no_attempt_leads_out_of_a_sandbox_of_root_without_namespaces",
    "process_escapes.rs no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user_without_namespaces",
    "process_escapes.rs no_attempt_leads_out_of_what_a_container_leaves_of_a_sandbox",
    "process_escapes.rs no_attempt_leads_out_of_a_sandbox_in_a_container",
    "container_escapes.rs no_attempt_leads_out_of_a_container",
];

/// The tests whose agents make what takes an agent of its own, one for each place.
const ABUSES: [&str; 5] = [
    "abuse/tests.rs a_sandbox_of_root_is_not_abused",
    "abuse/tests.rs a_sandbox_of_an_ordinary_user_is_not_abused",
    "abuse/tests.rs a_sandbox_of_root_without_namespaces_is_not_abused",
    "abuse/tests.rs a_sandbox_of_an_ordinary_user_without_namespaces_is_not_abused",
    "abuse/tests.rs a_container_is_not_abused",
];

/// What those agents make.
const OF_ABUSES: [u32; 7] = [26, 29, 38, 39, 41, 43, 45];

/// What is tried beside that, of which more can be seen from nearer by.
const BESIDE: [(u32, &str); 9] = [
    (
        9,
        "../../../supervisor/claw-gateway/tests/egress/escapes.rs a_name_that_changes_its_address_is_judged_by_each_answer",
    ),
    (
        17,
        "agent_protocol.rs the_state_of_another_agent_is_read_by_those_who_may_alone",
    ),
    (
        21,
        "agent_protocol.rs a_token_of_nobody_and_one_in_foreign_hands_are_refused_and_audited",
    ),
    (
        25,
        "limits_heavy.rs a_fork_bomb_in_the_first_millisecond_stays_inside_its_limit",
    ),
    (
        27,
        "limits_heavy.rs an_agent_that_spins_gets_no_more_processor_than_its_limit",
    ),
    (
        38,
        "../../../supervisor/claw-drivers/tests/process/confined/paths.rs a_link_that_an_agent_planted_leads_nowhere",
    ),
    (
        41,
        "../../../supervisor/claw-drivers/tests/process/tree.rs what_outlives_the_main_process_is_ended_within_a_second",
    ),
    (
        42,
        "../../../supervisor/claw-drivers/tests/process/spawn.rs a_script_without_its_interpreter_says_which",
    ),
    (
        43,
        "../../../supervisor/claw-daemon/tests/notification_fuzz.rs the_parser_survives_for_as_long_as_it_is_asked_to",
    ),
];

/// Whether an attempt of the list is of a kind.
fn is_of(what: &str, kind: u32) -> bool {
    what.starts_with(&format!("row {kind} "))
}

#[test]
fn every_kind_of_attempt_is_made() {
    for kind in 1..=KINDS {
        let listed = ROWS.iter().any(|row| is_of(row.what, kind));
        assert!(
            listed || OF_ABUSES.contains(&kind),
            "nobody tries what row {kind} is about"
        );
    }
    for row in &ROWS {
        assert!(
            (1..=KINDS).any(|kind| is_of(row.what, kind)),
            "{}",
            row.what
        );
    }
}

#[test]
fn whoever_is_said_to_try_is_there() {
    let beside = BESIDE.iter().map(|(_, place)| place);
    for place in LISTS.iter().chain(&ABUSES).chain(beside) {
        let (file, name) = place.split_once(' ').unwrap();
        let path = root().join("tests/tests/suite").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{place}");
    }
}

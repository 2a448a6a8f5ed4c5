//! The simulation can fail: each planted bug is found, and by the rule that it breaks.

use crate::live;

/// A bug to be found. Each stands for a mistake that a supervisor has made in the wild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    None,
    DropsKills,
    KillsAtOnce,
    SpawnsTwice,
    SpawnsBesideTheDying,
    AnswersTwice,
    AnswersNot,
    IgnoresBackoff,
    ForgetsOutcomes,
    SpawnsBeforeIntent,
    RestartsTheUnready,
    SleepsInThePast,
    BelievesOldFacts,
    NeverEnds,
    StartsTheStopped,
    ForgetsGenerations,
    AdoptsNobody,
    StartsAllAtOnce,
    ChangesInSilence,
    NeverWakesUp,
    ForgetsGoals,
    ForgetsSlots,
    StopsOnKeep,
    StacksProbes,
    DeliversTwice,
    DeliversBeforeTheRecord,
    DeliversToTheUnready,
    DeliversToTheDying,
    RedeliversAtOnce,
    BelievesOldAttempts,
    IgnoresTheEndOfRuns,
    IgnoresOverlap,
    SignalsTheDraining,
    ChangesAllAtOnce,
    IgnoresOutages,
    CountsTwice,
    LosesExits,
    NeverAsks,
    DropsSpawns,
    SkipsHooks,
    HurriesTheClock,
    ForgetsToThaw,
    ForgetsToFreeze,
    ReleasesBeforeTheRecord,
    ProbesTheDying,
    DrainsTwice,
    CancelsForTheDead,
    MiscountsAttempts,
    ForgetsEndsOfRuns,
    RevivesRuns,
    BeginsDuringTheShutdown,
    EndsTooSoon,
    LetsTheHaltedGo,
    SignalsBeforeTheRecord,
}

/// A bug must show itself within so many worlds.
const WORLDS: u64 = 200;

/// Bugs and the rules of which one must complain.
const BUGS: [(Plant, &[&str]); 54] = [
    (Plant::DropsKills, &["kill", "starts"]),
    (Plant::KillsAtOnce, &["grace"]),
    (Plant::SpawnsTwice, &["generation"]),
    (
        Plant::SpawnsBesideTheDying,
        &["one live instance", "stale", "outcome"],
    ),
    (Plant::AnswersTwice, &["ticket"]),
    (Plant::AnswersNot, &["ticket"]),
    (Plant::IgnoresBackoff, &["backoff"]),
    (Plant::ForgetsOutcomes, &["outcome", "durable"]),
    (Plant::SpawnsBeforeIntent, &["intent"]),
    (Plant::RestartsTheUnready, &["readiness"]),
    (Plant::SleepsInThePast, &["deadline"]),
    (Plant::BelievesOldFacts, &["one live instance", "outcome"]),
    (Plant::NeverEnds, &["shutdown"]),
    (Plant::StartsTheStopped, &["ticket", "goal", "durable"]),
    (Plant::ForgetsGenerations, &["generation"]),
    (Plant::AdoptsNobody, &["one live instance", "outcome"]),
    (Plant::StartsAllAtOnce, &["starts"]),
    (Plant::ChangesInSilence, &["face"]),
    (Plant::NeverWakesUp, &["stuck", "kill"]),
    (Plant::ForgetsGoals, &["durable", "frozen", "goal"]),
    (Plant::ForgetsSlots, &["slot"]),
    (Plant::StopsOnKeep, &["keep"]),
    (Plant::StacksProbes, &["probe"]),
    (Plant::DeliversTwice, &["delivery", "run"]),
    (Plant::DeliversBeforeTheRecord, &["durable"]),
    (Plant::DeliversToTheUnready, &["delivery"]),
    (Plant::DeliversToTheDying, &["delivery"]),
    (Plant::RedeliversAtOnce, &["delivery"]),
    (Plant::BelievesOldAttempts, &["delivery"]),
    (Plant::IgnoresTheEndOfRuns, &["stuck"]),
    (Plant::IgnoresOverlap, &["overlap"]),
    (Plant::SignalsTheDraining, &["drain"]),
    (Plant::ChangesAllAtOnce, &["roll"]),
    (Plant::IgnoresOutages, &["gate"]),
    (Plant::CountsTwice, &["no progress"]),
    (Plant::LosesExits, &["kill", "stuck", "shutdown"]),
    (Plant::NeverAsks, &["grace"]),
    (Plant::DropsSpawns, &["grace"]),
    (Plant::SkipsHooks, &["hook"]),
    (Plant::HurriesTheClock, &["backoff", "grace"]),
    (Plant::ForgetsToThaw, &["frozen"]),
    (Plant::ForgetsToFreeze, &["frozen"]),
    (Plant::ReleasesBeforeTheRecord, &["durable"]),
    (Plant::ProbesTheDying, &["probe"]),
    (Plant::DrainsTwice, &["drain"]),
    (Plant::CancelsForTheDead, &["delivery"]),
    (Plant::MiscountsAttempts, &["durable"]),
    (Plant::ForgetsEndsOfRuns, &["run"]),
    (Plant::RevivesRuns, &["run"]),
    (Plant::BeginsDuringTheShutdown, &["shutdown"]),
    (Plant::EndsTooSoon, &["shutdown"]),
    (Plant::LetsTheHaltedGo, &["halt"]),
    (Plant::SignalsBeforeTheRecord, &["durable"]),
    (Plant::None, &[]),
];

#[test]
fn every_planted_bug_is_found_by_its_rule() {
    let mut wrong = Vec::new();
    for (plant, rules) in BUGS {
        let mut failures = (1000..1000 + WORLDS).filter_map(|seed| live(seed, plant, None).err());
        if rules.is_empty() {
            wrong.extend(failures.next().map(|failure| {
                format!("{plant:?}: world {}: {}", failure.seed, failure.violation)
            }));
        } else if !failures.any(|failure| rules.contains(&failure.violation.rule)) {
            wrong.push(format!("{plant:?} was not found in {WORLDS} worlds"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

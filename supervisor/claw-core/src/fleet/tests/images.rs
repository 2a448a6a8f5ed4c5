//! What containers were made of, in the records of their lives and runs.

use crate::event::Fact;
use crate::image::Image;
use crate::memory::{Inheritance, Recovered};
use crate::record::Record;
use crate::spec::Overlap;

use super::world::{World, every, oneshot, records, secs, trigger, worker};

fn image(digest: &str) -> Image {
    Image {
        reference: "python:3".to_owned(),
        digest: digest.to_owned(),
    }
}

fn started_from(world: &mut World, digest: &str) {
    let instance = world.newest("a");
    let at = world.now.wall;
    world.fact(Fact::Started {
        instance,
        pid: 100,
        at,
        image: Some(image(digest)),
    });
}

/// The image of the run that was written down last, beside the generation that had it.
fn last_run(world: &World) -> Option<(u64, Option<Image>)> {
    records(&world.done).rev().find_map(|(_, record)| {
        let Record::Run(run) = record else {
            return None;
        };
        Some((run.generation?.0, run.image.clone()))
    })
}

fn lives(world: &World) -> Vec<Option<Image>> {
    let started = |record: &Record| match record {
        Record::Started { image, .. } => Some(image.clone()),
        Record::Intent { .. }
        | Record::Outcome { .. }
        | Record::Memory { .. }
        | Record::Run(_)
        | Record::Slot { .. }
        | Record::Removed { .. } => None,
    };
    records(&world.done)
        .filter_map(|(_, record)| started(record))
        .collect()
}

#[test]
fn each_attempt_of_a_run_says_what_it_was_made_of() {
    let mut world = World::new(vec![("a", every(secs(1_000_000), Overlap::Skip))]);
    world.ask(trigger("a"));
    started_from(&mut world, "sha256:1");
    assert_eq!(last_run(&world), Some((1, Some(image("sha256:1")))));
    world.exits("a", 1);
    world.pass(secs(60));
    started_from(&mut world, "sha256:2");
    world.exits("a", 0);
    assert_eq!(last_run(&world), Some((2, Some(image("sha256:2")))));
    assert_eq!(
        lives(&world),
        [Some(image("sha256:1")), Some(image("sha256:2"))]
    );
}

#[test]
fn an_attempt_that_never_started_was_made_of_nothing() {
    let mut world = World::new(vec![("a", oneshot())]);
    started_from(&mut world, "sha256:1");
    world.exits("a", 1);
    world.pass(secs(60));
    assert_eq!(world.newest("a").generation.0, 2);
    world.ask(super::world::stop("a"));
    let instance = world.newest("a");
    world.fact(Fact::Lost { instance });
    assert_eq!(last_run(&world), Some((2, None)));
}

#[test]
fn runs_of_a_worker_that_was_taken_over_say_what_it_is_made_of() {
    let mut first = World::new(vec![("a", worker(Overlap::Queue))]);
    started_from(&mut first, "sha256:1");
    first.ready("a");
    let mut inheritance = Inheritance::default();
    for (_, record) in records(&first.done) {
        if let Record::Memory { agent, memory, .. } = record {
            inheritance.agents.insert(agent.clone(), memory.clone());
        }
    }
    let alive = Recovered::Alive {
        pid: 100,
        at: first.now.wall,
        image: Some(image("sha256:1")),
    };
    inheritance.instances = vec![(first.newest("a"), None, alive)];
    let mut world = World::restored(vec![("a", worker(Overlap::Queue))], inheritance);
    world.ready("a");
    world.ask(trigger("a"));
    assert_eq!(last_run(&world), Some((1, Some(image("sha256:1")))));
}

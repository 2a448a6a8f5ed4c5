//! What a driver does where a sandbox cannot be made. What agents try to get out of one is tried by
//! those of whole fleets, in the suite of black-box tests.

use claw_core::sandbox::{Abilities, Lack};

use super::{confined, whole};
use crate::world::{SetUp, World};

fn without_namespaces(abilities: &Abilities) -> Abilities {
    let lack = Lack {
        call: "clone".to_owned(),
        errno: 1,
        reason: "EPERM".to_owned(),
    };
    Abilities {
        namespaces: Err(lack.clone()),
        root_dir: Err(lack.clone()),
        proc: Err(lack.clone()),
        network: Err(lack),
        ..abilities.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_is_said_and_nothing_is_started() {
    let Some(abilities) = whole("a_machine_that_cannot_is_said_and_nothing_is_started") else {
        return;
    };
    let mut world = World::set(SetUp {
        abilities: Some(without_namespaces(&abilities)),
        ..SetUp::default()
    })
    .await;
    let spec = confined(&world, &["true"], |_| {});
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, claw_core::SpawnStage::Sandbox);
    let begin = "it may reach no host, and a network namespace cannot be created (clone: EPERM).";
    assert!(error.detail.starts_with(begin), "{}", error.detail);
    assert!(world.driver().plan_of(&instance).is_none());
}

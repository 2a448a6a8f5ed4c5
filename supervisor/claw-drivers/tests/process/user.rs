//! Other users.

use claw_core::{ExitStatus, Fact, SpawnStage};

use crate::agents;
use crate::world::{World, agent, script};

fn root(test: &str) -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        eprintln!("SKIP {test}: only root can become another user");
    }
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_becomes_its_user_and_keeps_no_group_of_ours() {
    if !root("an_agent_becomes_its_user") {
        return;
    }
    let mut world = World::new().await;
    let out = world.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::os::unix::fs::chown(&out, Some(65534), None).unwrap();
    let mut spec = script(&format!(
        "id -u > {0}/id; id -G >> {0}/id; echo $USER $HOME >> {0}/id; grep Groups /proc/self/status >> {0}/id",
        out.display()
    ));
    spec.launch.user = Some("nobody".to_owned());
    let state = world.dir.path().join("state/deep");
    spec.launch.data_dirs = vec![state.clone()];
    let (instance, _) = world.started(spec).await;
    assert_eq!(world.gone(&instance).await.status, ExitStatus::Code(0));
    let text = std::fs::read_to_string(out.join("id")).unwrap();
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            user.uid.to_string(),
            user.gid.to_string(),
            format!("nobody {}", user.dir.display()),
            format!("Groups:\t{} ", user.gid),
        ]
    );
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(state).unwrap());
    assert_eq!(owner, user.uid.as_raw());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_agent_reaches_its_notify_socket() {
    if !root("another_users_agent_reaches") {
        return;
    }
    let mut world = World::new().await;
    // The test binary itself may be out of the user's reach: a program anybody can run.
    let helper = world.file("helper");
    std::fs::copy(std::env::current_exe().unwrap(), &helper).unwrap();
    let mut command = agents::command(&["notify", "READY=1"]);
    command[0] = helper.to_string_lossy().into_owned();
    let mut spec = agent(command);
    spec.launch.user = Some("nobody".to_owned());
    world.started(spec).await;
    world
        .find(|fact| matches!(fact, Fact::Notified { .. }).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_is_named() {
    let mut world = World::new().await;
    let mut spec = script("true");
    spec.launch.user = Some("no-such-user".to_owned());
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::User);
    assert_eq!(
        error.detail,
        "cannot run as the user `no-such-user`: there is no such user"
    );
}

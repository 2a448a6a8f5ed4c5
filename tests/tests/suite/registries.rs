//! Images that come from a registry, with and without credentials.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use claw_daemon::api::{Agent, State};
use nix::sys::signal::Signal;

use crate::fleet::{Access, Engine, Fleet, Registry};

fn agent(name: &str, image: &str, policy: &str) -> String {
    format!("  {name}: {{image: \"{image}\", pull_policy: {policy}, sandbox: {{mode: docker}}}}\n")
}

fn fleet(engine: &Engine, agents: &str) -> Fleet {
    let mut fleet = Fleet::new(agents);
    fleet.set_engine(&engine.address);
    let place = fleet.place("docker");
    fs::create_dir(&place).unwrap();
    fleet.set_env("DOCKER_CONFIG", &place);
    fleet
}

fn await_up(fleet: &Fleet, name: &str) -> Agent {
    fleet.await_agent(name, "runs and is ready", |agent| {
        agent.state == State::Running && agent.ready
    })
}

fn await_refused(fleet: &Fleet, name: &str, words: &str) {
    let refused = fleet.await_agent(name, "is refused with these words", |agent| {
        agent.state == State::Stopped && agent.reason.text.contains(words)
    });
    assert_eq!(refused.reason.code, "refused", "{refused:?}");
}

#[test]
fn images_are_fetched_by_tag_and_by_digest_as_the_policy_says() {
    let test = "images_are_fetched_by_tag_and_by_digest_as_the_policy_says";
    let Some(engine) = Engine::find(test) else {
        return;
    };
    let Some(mut registry) = Registry::start(test, Access::Everybody) else {
        return;
    };
    for name in ["always:1", "missing:1"] {
        registry.publish(&engine, name, "first");
    }
    let digest = registry.publish(&engine, "pinned:1", "first");
    registry.publish(&engine, "pinned:1", "second");
    let agents = agent("always", &registry.image("always:1"), "always")
        + &agent("missing", &registry.image("missing:1"), "missing")
        + &agent("never", &registry.image("never:1"), "never")
        + &agent(
            "pinned",
            &registry.image(&format!("pinned@{digest}")),
            "missing",
        )
        + &agent("nowhere", &registry.image("nowhere:1"), "missing");
    let mut fleet = fleet(&engine, &agents);
    registry.signal(Signal::SIGSTOP);
    fleet.up();
    fleet.await_agent("always", "says that it waits for its image", |agent| {
        agent.reason.text.contains("fetching image")
    });
    await_refused(&fleet, "never", "there is no image");
    registry.signal(Signal::SIGCONT);
    for name in ["always", "missing", "pinned"] {
        await_up(&fleet, name);
        fleet.await_output(name, "first");
    }
    assert!(fleet.run(&["status", "pinned"]).ok().contains(&digest));
    await_refused(&fleet, "nowhere", "has no image");

    // The tags move, in the registry alone.
    for name in ["always", "missing"] {
        let image = registry.image(&format!("{name}:1"));
        let kept = format!("{image}-kept");
        engine.docker(&["tag", &image, &kept]).unwrap();
        registry.publish(&engine, &format!("{name}:1"), "second");
        engine.docker(&["tag", &kept, &image]).unwrap();
        engine.docker(&["rmi", &kept]).unwrap();
        fleet.run(&["restart", name]).ok();
        await_up(&fleet, name);
    }
    fleet.await_output("always", "second");
    assert!(!fleet.output("missing").contains("second"));

    registry.end();
    fleet.run(&["restart", "missing"]).ok();
    await_up(&fleet, "missing");
    fleet.api().post("/api/agents/always/restart", None);
    let waiting = fleet.await_agent("always", "waits for the registry", |agent| {
        agent.reason.code == "backing_off"
    });
    assert!(waiting.reason.text.contains("always:1"), "{waiting:?}");
    fleet.down();
}

/// Without waiting for what comes of it.
fn start(fleet: &Fleet, name: &str) {
    let (status, said) = fleet.api().post(&format!("/api/agents/{name}/start"), None);
    assert!((200..300).contains(&status), "{said}");
}

/// A helper that does as the text says.
fn helper(dir: &Path, name: &str, text: &str) {
    let path = dir.join(format!("docker-credential-{name}"));
    fs::write(&path, format!("#!/bin/sh\nread server\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn credentials_come_from_dockers_file_and_from_helpers() {
    let test = "credentials_come_from_dockers_file_and_from_helpers";
    let Some(engine) = Engine::find(test) else {
        return;
    };
    let Some(registry) = Registry::start(test, Access::Login) else {
        return;
    };
    registry.publish(&engine, "secret:1", "first");
    let address = registry.address();
    let mut fleet = fleet(
        &engine,
        &agent("boxed", &registry.image("secret:1"), "missing"),
    );
    let path = format!(
        "{}:{}",
        fleet.place("docker"),
        std::env::var("PATH").unwrap()
    );
    fleet.set_env("PATH", &path);
    let dir = fleet.path("docker");
    let good = format!(
        "[ \"$1 $server\" = \"get {address}\" ] && echo '{{\"ServerURL\": \"{address}\", \
         \"Username\": \"me\", \"Secret\": \"secret\"}}'"
    );
    helper(&dir, "good", &good);
    helper(
        &dir,
        "empty",
        "echo credentials not found in native keychain; exit 1",
    );
    helper(&dir, "locked", "echo the keychain is locked; exit 1");
    helper(&dir, "endless", "yes");
    let say = |text: &str| fs::write(dir.join("config.json"), text).unwrap();
    let by = |name: &str| format!(r#"{{"credHelpers": {{"{address}": "{name}"}}}}"#);

    say("{}");
    fleet.up();
    await_refused(&fleet, "boxed", "no basic auth");
    let refusals = [
        (registry.login("me", "wrong"), "unauthorized"),
        (by("empty"), "no basic auth"),
        (by("absent"), "`docker-credential-absent`, which keeps"),
    ];
    for (text, words) in refusals {
        say(&text);
        start(&fleet, "boxed");
        await_refused(&fleet, "boxed", words);
    }
    for (name, words) in [
        ("locked", "the keychain is locked"),
        ("endless", "more than"),
    ] {
        say(&by(name));
        start(&fleet, "boxed");
        fleet.await_agent("boxed", "waits for its helper", |agent| {
            agent.reason.code == "backing_off" && agent.reason.text.contains(words)
        });
        fleet.run(&["stop", "boxed"]).ok();
    }
    let both = format!(
        r#"{{"credsStore": "good", {}"#,
        &registry.login("me", "wrong")[1..]
    );
    for text in [registry.login("me", "secret"), by("good"), both] {
        say(&text);
        fleet.run(&["start", "boxed"]).ok();
        await_up(&fleet, "boxed");
        fleet.run(&["stop", "boxed"]).ok();
        registry.forget(&engine, "secret:1");
    }
    fleet.down();
}

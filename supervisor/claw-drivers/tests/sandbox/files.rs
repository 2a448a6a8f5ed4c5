//! Files that go into a sandbox and come out of it.

use std::collections::BTreeMap;

use claw_core::ExitStatus;
use claw_drivers::container::pool::{Command, OutFile, RunError, SandboxSpec, Temperature};

use crate::engine::{BARE, Engine, House, shell, spec, text};

fn with_files(script: &str, files: &[(&str, &[u8])], outputs: &[&str]) -> Command {
    let files = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    Command {
        files: files.collect(),
        outputs: outputs.iter().map(|&name| name.to_owned()).collect(),
        ..shell(script)
    }
}

#[tokio::test]
async fn files_are_there_for_the_command_and_what_it_writes_comes_out() {
    let Some(engine) = Engine::get("files_are_there_for_the_command") else {
        return;
    };
    for (ready, temperature) in [(1, Temperature::Ready), (0, Temperature::Cold)] {
        let house = House::open(&engine, "files", SandboxSpec { ready, ..spec() });
        house.ready(usize::try_from(ready).unwrap()).await;
        let bytes: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        let command = with_files(
            "id -u; cat sub/in.txt; cat big > out/big; ln -s /bin/sh out/link; exit 4",
            &[("sub/in.txt", b"hello\n"), ("big", &bytes), ("out/x", b"")],
            &["out/big", "out/link", "out/gone", "-rf"],
        );
        let outcome = house.run(&command).await;
        assert_eq!(
            text(&outcome.stdout),
            "1000\nhello\n",
            "{:?}",
            outcome.stderr
        );
        assert_eq!(outcome.status, ExitStatus::Code(4));
        assert_eq!(outcome.temperature, temperature);
        assert!(outcome.files["out/big"] == OutFile::Taken(bytes));
        let missing = |name: &str, why: &str| {
            let OutFile::Missing(said) = &outcome.files[name] else {
                panic!("{name} came out");
            };
            assert!(said.contains(why), "{name}: {said}");
        };
        missing("out/link", "no regular file");
        missing("out/gone", "no such file");
        missing("-rf", "no such file");
        house.sandboxes.close().await;
    }
}

#[tokio::test]
async fn too_much_does_not_come_out_and_leaves_the_rest() {
    let Some(engine) = Engine::get("too_much_does_not_come_out") else {
        return;
    };
    let house = House::open(&engine, "muchfiles", spec());
    house.ready(1).await;
    let script = "echo small > a; yes | head -c 30000000 > b";
    let outcome = house.run(&with_files(script, &[], &["a", "b"])).await;
    assert_eq!(outcome.files["a"], OutFile::Taken(b"small\n".to_vec()));
    let OutFile::Missing(why) = &outcome.files["b"] else {
        panic!("all of it came out");
    };
    assert!(why.contains("at most"), "{why}");
    house.sandboxes.close().await;
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let Some(engine) = Engine::get("names_that_lead_elsewhere_are_refused") else {
        return;
    };
    let house = House::open(&engine, "names", SandboxSpec { ready: 0, ..spec() });
    for name in ["../x", "/etc/passwd", "a/../../x", ""] {
        for command in [
            with_files("true", &[(name, b"")], &[]),
            with_files("true", &[], &[name]),
        ] {
            let refused = house.sandboxes.run(&house.name, &command).await;
            assert!(matches!(refused, Err(RunError::Invalid(_))), "{refused:?}");
        }
    }
    house.sandboxes.close().await;
}

#[tokio::test]
async fn an_image_without_what_files_need_is_refused_in_a_sentence() {
    let Some(engine) = Engine::get("an_image_without_what_files_need") else {
        return;
    };
    let house = House::open(&engine, "barefiles", SandboxSpec::of_image(BARE.to_owned()));
    let command = Command {
        program: vec!["echo".to_owned()],
        files: BTreeMap::from([("a".to_owned(), Vec::new())]),
        ..Command::default()
    };
    let refused = house.sandboxes.run(&house.name, &command).await;
    let Err(RunError::Unusable(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("`sleep` and `tar`"), "{why}");
    house.sandboxes.close().await;
}

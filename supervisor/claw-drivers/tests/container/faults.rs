//! An engine that is missing, killed, restarted or stuck, and people who use it by hand.

use std::time::{Duration, Instant};

use claw_core::memory::Recovered;
use claw_core::{ExitStatus, Fact, InstanceId, SpawnStage};
use claw_drivers::Driver;
use claw_drivers::container::EngineError;
use nix::sys::signal::Signal;

use crate::conformance::stage::{Platform, Stage, eventually, runs, unique_sleep};
use crate::engine::{OwnEngine, TestEngine};
use crate::platform::Containers;

/// A stage with an engine of its own, which has to go after it.
async fn own(
    test: &'static str,
    options: &'static [&'static str],
) -> Option<(OwnEngine, Stage<Containers>)> {
    let started = tokio::task::spawn_blocking(move || OwnEngine::start(options)).await;
    match started.unwrap() {
        Ok(own) => {
            let engine = own.engine.clone();
            let stage = Stage::of(
                Containers {
                    engine,
                    egress: None,
                },
                test,
            )
            .await;
            Some((own, stage))
        }
        Err(why) => {
            eprintln!("SKIP {test}: {why}");
            None
        }
    }
}

async fn unobserved(stage: &mut Stage<Containers>, of: &InstanceId) -> String {
    stage
        .find(|fact| match fact {
            Fact::Unobserved { instance, reason } if instance == of => Some(reason.clone()),
            Fact::Gone { report, .. } => panic!("reported gone: {report:?}"),
            _ => None,
        })
        .await
}

async fn observed(stage: &mut Stage<Containers>, of: &InstanceId) {
    stage
        .find(|fact| match fact {
            Fact::Observed { instance } if instance == of => Some(()),
            Fact::Gone { report, .. } => panic!("reported gone: {report:?}"),
            _ => None,
        })
        .await;
}

async fn lost(stage: &mut Stage<Containers>, of: &InstanceId) {
    let is = |fact: &Fact| matches!(fact, Fact::Lost { instance } if instance == of).then_some(());
    stage.find(is).await;
}

fn by_hand(stage: &Stage<Containers>, instance: &InstanceId, arguments: &[&str]) {
    let name = Containers::name(&stage.data_dir(), instance);
    let arguments = [arguments, &[name.as_str()]].concat();
    stage.platform.engine.docker(&arguments).unwrap();
}

/// Lines with a number each, until a file is there.
fn counting(stage: &Stage<Containers>, stop: &str) -> claw_core::AgentSpec {
    let text = format!(
        "i=0; while [ ! -e {} ]; do i=$((i+1)); echo $i; sleep 0.05; done",
        stage.file(stop).display()
    );
    stage.script(&text)
}

fn assert_counted(text: &str) {
    let numbers = text.lines().map(|line| line.parse::<u32>().unwrap());
    for (expected, number) in (1..).zip(numbers) {
        assert_eq!(number, expected, "a gap or a double");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_keeps_its_containers_may_be_killed() {
    let test = "an_engine_that_keeps_its_containers_may_be_killed";
    let Some((engine, mut stage)) = own(test, &["--live-restore"]).await else {
        return;
    };
    let spec = counting(&stage, "stop");
    let instance = stage.started(spec).await;
    eventually("some lines", || stage.log().len() > 20).await;
    engine.kill();
    let reason = unobserved(&mut stage, &instance).await;
    assert!(
        reason.contains("there is no container engine at"),
        "{reason}"
    );
    engine.restart();
    observed(&mut stage, &instance).await;
    let before = stage.log().len();
    eventually("more lines", || stage.log().len() > before + 20).await;
    std::fs::write(stage.file("stop"), "").unwrap();
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(0));
    assert_counted(&stage.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_ends_its_containers_with_itself_is_told_of_truly() {
    let test = "an_engine_that_ends_its_containers_with_itself_is_told_of_truly";
    let Some((engine, mut stage)) = own(test, &[]).await else {
        return;
    };
    let sleep = unique_sleep();
    let spec = stage.agent(&["sleep", &sleep]);
    let instance = stage.started(spec).await;
    engine.kill();
    unobserved(&mut stage, &instance).await;
    // It lives on, and nobody may say anything else.
    assert!(runs(&sleep));
    engine.restart();
    // The engine stops what it finds, as with `docker stop`.
    let status = stage.gone(&instance).await.status;
    assert!(
        [ExitStatus::Signal(15), ExitStatus::Signal(9)].contains(&status),
        "{status:?}"
    );
    assert!(!runs(&sleep));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_the_engine_was_away_is_told_with_its_own_end() {
    let test = "what_ended_while_the_engine_was_away_is_told_with_its_own_end";
    let Some((engine, mut stage)) = own(test, &["--live-restore"]).await else {
        return;
    };
    let (go, sleep) = (stage.file("go"), unique_sleep());
    let text = format!(
        "sleep {sleep} & while [ ! -e {} ]; do sleep 0.02; done; exit 42",
        go.display()
    );
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    eventually("its child", || runs(&sleep)).await;
    engine.kill();
    unobserved(&mut stage, &instance).await;
    std::fs::write(go, "").unwrap();
    eventually("its end", || !runs(&sleep)).await;
    engine.restart();
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(42));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_blocks_nobody_and_a_kill_waits_for_it() {
    let test = "an_engine_that_hangs_blocks_nobody_and_a_kill_waits_for_it";
    let Some((engine, mut stage)) = own(test, &[]).await else {
        return;
    };
    let sleep = unique_sleep();
    let spec = stage.agent(&["sleep", &sleep]);
    let instance = stage.started(spec.clone()).await;
    engine.signal(Signal::SIGSTOP);
    let reason = unobserved(&mut stage, &instance).await;
    assert!(reason.contains("did not answer"), "{reason}");
    let begun = Instant::now();
    stage.signal(&instance, 10);
    stage.kill(&instance);
    assert!(begun.elapsed() < Duration::from_millis(100));
    let report = stage.driver().engine().await;
    assert!(
        matches!(report, Err(EngineError::Silent { .. })),
        "{report:?}"
    );
    // A new supervisor goes on without it.
    stage.crash();
    stage.restart().await;
    let begun = Instant::now();
    let recovered = stage.driver().recover(vec![stage.open(&instance)]).await;
    assert!(
        begun.elapsed() < Duration::from_secs(7),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        matches!(recovered[..], [(_, _, Recovered::Alive { .. })]),
        "{recovered:?}"
    );
    unobserved(&mut stage, &instance).await;
    stage.kill(&instance);
    let next = stage.spawn(spec);
    let error = stage.spawn_failed(&next).await;
    assert_eq!(error.stage, SpawnStage::Engine);
    assert!(runs(&sleep));
    engine.signal(Signal::SIGCONT);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(9));
    assert!(!runs(&sleep));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_fails_the_start_and_says_where_it_was_sought() {
    let address = "unix:///nonexistent/engine.sock".to_owned();
    let platform = Containers {
        engine: TestEngine { address },
        egress: None,
    };
    let dir = tempfile::tempdir().unwrap();
    let (driver, mut facts) = platform.start(dir.path()).await;
    let report = driver.engine().await.unwrap_err();
    assert_eq!(
        report.to_string(),
        "there is no container engine at unix:///nonexistent/engine.sock: \
         /nonexistent/engine.sock does not exist"
    );
    assert!(driver.recover(Vec::new()).await.is_empty());
    let instance = InstanceId {
        agent: "agent".parse().unwrap(),
        generation: claw_core::Generation(1),
    };
    let spec = crate::conformance::spec::agent(vec!["true".to_owned()]);
    driver.order(claw_core::Order::Spawn {
        instance: instance.clone(),
        spec: platform.adapt(spec, dir.path()).into(),
        run: None,
    });
    let Some(Fact::SpawnFailed { error, .. }) = facts.recv().await else {
        panic!("another fact came");
    };
    assert_eq!(
        (error.stage, error.detail),
        (SpawnStage::Engine, report.to_string())
    );
    eventually("its record's", || !dir.path().join("containers").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_removes_is_lost_and_what_somebody_stops_has_its_end() {
    let Some(mut stage) = Stage::<Containers>::set("what_somebody_removes_is_lost").await else {
        return;
    };
    let spec = stage.agent(&["sleep", "1000"]);
    let removed = stage.started(spec.clone()).await;
    by_hand(&stage, &removed, &["rm", "--force"]);
    lost(&mut stage, &removed).await;
    let stopped = stage.started(spec.clone()).await;
    by_hand(&stage, &stopped, &["stop"]);
    // Podman stops without patience.
    let number = if stage.platform.is_podman() { 9 } else { 15 };
    let stopped = stage.gone(&stopped).await.status;
    assert_eq!(stopped, ExitStatus::Signal(number));
    let killed = stage.started(spec).await;
    by_hand(&stage, &killed, &["kill"]);
    assert_eq!(stage.gone(&killed).await.status, ExitStatus::Signal(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_pauses_is_let_run_again_and_what_is_renamed_is_followed() {
    let Some(mut stage) = Stage::<Containers>::set("what_somebody_pauses_is_let_run").await else {
        return;
    };
    let spec = counting(&stage, "stop");
    let instance = stage.started(spec).await;
    by_hand(&stage, &instance, &["pause"]);
    let before = stage.log().len();
    eventually("more lines", || stage.log().len() > before + 20).await;
    let name = Containers::name(&stage.data_dir(), &instance);
    let other = format!("{name}-renamed");
    stage
        .platform
        .engine
        .docker(&["rename", &name, &other])
        .unwrap();
    stage.signal(&instance, 15);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(15));
    stage.order(claw_core::Order::Release {
        instance: instance.clone(),
    });
    eventually("the removal", || {
        stage.platform.list(&stage.data_dir()).is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_told_and_nobody_elses_container_is_touched() {
    let Some(mut stage) = Stage::<Containers>::set("a_name_that_is_taken_is_told").await else {
        return;
    };
    let mut wanted = stage.instance();
    wanted.generation = claw_core::Generation(2);
    let name = Containers::name(&stage.data_dir(), &wanted);
    let engine = stage.platform.engine.clone();
    let create = ["create", "--name", &name, crate::engine::IMAGE, "true"];
    engine.docker(&create).unwrap();
    let spec = stage.agent(&["sleep", "1000"]);
    let instance = stage.spawn(spec);
    assert_eq!(instance, wanted);
    let error = stage.spawn_failed(&instance).await;
    assert_eq!(error.stage, SpawnStage::Prepare);
    assert!(
        error
            .detail
            .contains("is taken by a container that is not ours"),
        "{error}"
    );
    assert!(engine.docker(&["inspect", &name]).is_ok());
    engine.docker(&["rm", &name]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_what_is_wrong() {
    use claw_core::spec::container::{Access, Mount, MountSource, PullPolicy};
    let Some(mut stage) = Stage::<Containers>::set("what_cannot_be_started").await else {
        return;
    };
    let good = stage.agent(&["sleep", "1000"]);
    let with = |change: &dyn Fn(&mut claw_core::spec::Container)| {
        let mut spec = good.clone();
        change(spec.launch.container.as_mut().unwrap());
        spec
    };
    let mut user = good.clone();
    user.launch.user = Some("nosuchuser".to_owned());
    for (spec, expected, words) in [
        (
            with(&|it| {
                it.image = "claw-test:none".to_owned();
                it.pull = PullPolicy::Never;
            }),
            SpawnStage::Image,
            "there is no image `claw-test:none` on this machine",
        ),
        (
            with(&|it| it.image = "No Image".to_owned()),
            SpawnStage::Image,
            "`No Image` is no name of an image",
        ),
        (
            with(&|it| {
                it.mounts.push(Mount {
                    source: MountSource::Path("/no/such/path".into()),
                    target: "/inside".into(),
                    access: Access::ReadOnly,
                });
            }),
            SpawnStage::Prepare,
            "/no/such/path",
        ),
        (user, SpawnStage::User, "the image has no user `nosuchuser`"),
        (
            with(&|it| it.init = claw_core::spec::container::Init::Own),
            SpawnStage::Exec,
            "cannot execute `no-such-program` in the image",
        ),
    ] {
        let mut spec = spec;
        if expected == SpawnStage::Exec {
            spec.launch.command = vec!["no-such-program".to_owned()];
        }
        let instance = stage.spawn(spec);
        let error = stage.spawn_failed(&instance).await;
        assert_eq!(error.stage, expected, "{error}");
        assert!(error.detail.contains(words), "{error}");
        assert!(!stage.has_traces(&instance).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_from_a_folder_and_a_build_that_fails_is_quoted() {
    let Some(mut stage) = Stage::<Containers>::set("an_image_is_built_from_a_folder").await else {
        return;
    };
    let context = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(context.path().join(name), text).unwrap();
    write(
        "Dockerfile",
        "FROM claw-test:1\nCOPY . /src\nCMD [\"ls\", \"/src\"]\n",
    );
    write(".dockerignore", "*.secret\n.dockerignore\nDockerfile\n");
    write("a.txt", "");
    write("b.secret", "");
    let mut spec = stage.agent(&["sleep", "1000"]);
    spec.launch.command.clear();
    let name = format!("claw-test-built:{}", std::process::id());
    {
        let container = spec.launch.container.as_mut().unwrap();
        container.image.clone_from(&name);
        container.build = Some(crate::engine::build(context.path()));
    }
    let instance = stage.started(spec.clone()).await;
    stage.gone(&instance).await;
    assert_eq!(stage.log(), "a.txt\n");
    stage
        .platform
        .engine
        .docker(&["rmi", "--force", &name])
        .ok();
    write(
        "Dockerfile",
        "FROM claw-test:1\nRUN echo so it goes && false\n",
    );
    let image = format!("{name}-bad");
    spec.launch.container.as_mut().unwrap().image = image;
    let failed = stage.spawn(spec);
    let error = stage.spawn_failed(&failed).await;
    assert_eq!(error.stage, SpawnStage::Image);
    assert!(error.detail.contains("so it goes"), "{error}");
}

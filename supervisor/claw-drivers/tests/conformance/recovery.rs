//! From one supervisor to the next.

use claw_core::ExitStatus;
use claw_core::memory::Recovered;
use claw_drivers::Driver;

use super::stage::{Platform, Stage, eventually, runs, unique_sleep};

pub(crate) async fn a_new_supervisor_takes_over_what_lives<P: Platform>(mut stage: Stage<P>) {
    let spec = stage.agent(&["sleep", "1000"]);
    let instance = stage.spawn(spec);
    let before = stage.await_start(&instance).await;
    stage.crash();
    stage.restart().await;
    let recovered = stage.driver().recover(vec![stage.open(&instance)]).await;
    let [(of, None, Recovered::Alive { pid, .. })] = &recovered[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!((of, *pid), (&instance, before));
    stage.signal(&instance, 15);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(15));
}

pub(crate) async fn an_end_while_nobody_watched_is_known<P: Platform>(mut stage: Stage<P>) {
    let (go, sleep) = (stage.file("go"), unique_sleep());
    let text = format!(
        "sleep {sleep} & while [ ! -e {} ]; do sleep 0.02; done; echo bye; exit 9",
        go.display()
    );
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    eventually("its child", || runs(&sleep)).await;
    stage.crash();
    std::fs::write(go, "").unwrap();
    eventually("its end", || !runs(&sleep)).await;
    // Whoever watched over it may be busy with its end.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    stage.restart().await;
    let recovered = stage.driver().recover(vec![stage.open(&instance)]).await;
    let [(_, _, Recovered::Ended(report))] = &recovered[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!(report.status, ExitStatus::Code(9));
    let log = report.log.unwrap();
    assert_eq!((log.from, log.to), (0, 4));
    assert_eq!(stage.log(), "bye\n");
}

pub(crate) async fn output_goes_on_where_it_was_left<P: Platform>(mut stage: Stage<P>) {
    let stop = stage.file("stop");
    let text = format!(
        "i=0; while [ ! -e {} ]; do i=$((i+1)); echo $i; [ $((i % 50)) -ne 0 ] || sleep 0.01; done",
        stop.display()
    );
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    for _ in 0..3 {
        let before = stage.log().len();
        eventually("some lines", || stage.log().len() > before + 2000).await;
        stage.crash();
        stage.restart().await;
        let recovered = stage.driver().recover(vec![stage.open(&instance)]).await;
        let alive = matches!(recovered[..], [(_, _, Recovered::Alive { .. })]);
        assert!(alive, "{recovered:?}");
    }
    std::fs::write(stop, "").unwrap();
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(0));
    let text = stage.log();
    let numbers = text.lines().map(|line| line.parse::<u32>().unwrap());
    for (expected, number) in (1..).zip(numbers) {
        assert_eq!(number, expected, "a gap or a double");
    }
}

pub(crate) async fn a_start_that_never_was_and_one_of_another_boot_are_told_apart<P: Platform>(
    mut stage: Stage<P>,
) {
    let never = stage.instance();
    let spec = stage.script("exit 0");
    let old = stage.started(spec).await;
    stage.gone(&old).await;
    stage.crash();
    stage.restart().await;
    let mut rebooted = stage.open(&old);
    rebooted.boot_id = "another".to_owned();
    let open = vec![stage.open(&never), rebooted];
    let recovered = stage.driver().recover(open).await;
    let of = |instance| &recovered.iter().find(|(of, ..)| of == instance).unwrap().2;
    assert_eq!(of(&never), &Recovered::NeverStarted);
    assert_eq!(of(&old), &Recovered::Rebooted);
}

pub(crate) async fn what_belongs_to_no_open_instance_is_ended<P: Platform>(mut stage: Stage<P>) {
    let (known, unknown) = (unique_sleep(), unique_sleep());
    let spec = stage.agent(&["sleep", &known]);
    let kept = stage.started(spec).await;
    let spec = stage.agent(&["sleep", &unknown]);
    let swept = stage.started(spec).await;
    stage.crash();
    stage.restart().await;
    stage.driver().recover(vec![stage.open(&kept)]).await;
    eventually("its end", || !runs(&unknown)).await;
    assert!(runs(&known));
    while stage.has_traces(&swept).await {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

pub(crate) async fn a_crash_at_any_moment_of_a_start_leaves_nothing_unknown<P: Platform>(
    mut stage: Stage<P>,
) {
    for round in 0..12 {
        let sleep = unique_sleep();
        let spec = stage.agent(&["sleep", &sleep]);
        let instance = stage.spawn(spec);
        tokio::time::sleep(std::time::Duration::from_millis(30 * round)).await;
        stage.crash();
        stage.restart().await;
        let recovered = stage.driver().recover(vec![stage.open(&instance)]).await;
        match &recovered[..] {
            [(_, _, Recovered::Alive { .. })] => {
                assert!(runs(&sleep), "round {round}");
                stage.kill(&instance);
                assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(9));
            }
            [(_, _, Recovered::NeverStarted | Recovered::Lost)] => {}
            other => panic!("round {round}: {other:?}"),
        }
        eventually("its end", || !runs(&sleep)).await;
    }
}

mod money;
mod world;

use claw_core::Announcement;
use claw_core::action::Happened;
use fakellm::FakeLlm;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use self::world::{AGENT, Host, PROVIDER_KEY, ask, chat, fleet, without_models};
use crate::egress::ModelsChange;

/// Enough for every test, in pico-USD.
const PLENTY: i64 = 1_000_000_000_000;

#[tokio::test]
async fn an_agent_calls_models_by_its_environment_and_holds_no_key_of_a_provider() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = host.life(1);
    let launch = &life.spec.launch;
    let base = format!("http://127.0.0.1:{}", life.port());
    assert_eq!(launch.env["OPENAI_BASE_URL"], format!("{base}/v1"));
    assert_eq!(launch.env["OPENCLAW_LLM_URL"], base);
    assert_eq!(life.token(), launch.secrets["OPENCLAW_TOKEN"].expose());
    let values = launch.env.values().map(String::as_str);
    let secrets = launch.secrets.values().map(|secret| secret.expose());
    let mut all = values.chain(secrets);
    assert!(all.all(|value| !value.contains(PROVIDER_KEY)));

    let answer = life.chat().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = fake.seen();
    let shown = format!("Bearer {PROVIDER_KEY}");
    assert_eq!(seen[0].header("authorization"), Some(&*shown));
    let mut headers = seen[0].headers.values();
    assert!(headers.all(|value| !value.contains(life.token())));
    host.down(&dir).await;
}

#[tokio::test]
async fn at_a_port_of_the_machine_only_tokens_of_lives_that_last_are_taken() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let first = host.life(1);
    let port = first.port();
    assert_eq!(chat(port, None).await.status, 401);
    assert_eq!(chat(port, Some("sk-anything")).await.status, 401);
    assert_eq!(first.chat().await.status, 200);
    let second = host.life(2);
    assert_eq!(second.port(), port);
    for life in [&first, &second] {
        assert_eq!(life.chat().await.status, 200, "two may overlap");
    }
    host.ends(&first);
    assert_eq!(first.chat().await.status, 401, "its life is over");
    assert_eq!(second.chat().await.status, 200);
    assert_eq!(fake.seen().len(), 4);
    host.down(&dir).await;
}

#[tokio::test]
async fn in_its_own_network_an_agent_shows_its_token_or_none_but_no_other() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = host.life(1);
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    let opened = ModelsChange::Opened {
        instance: life.instance.clone(),
        listener: inside.into_std().unwrap(),
    };
    host.models().change(&host.api, opened);
    assert_eq!(chat(port, None).await.status, 200);
    assert_eq!(chat(port, Some(life.token())).await.status, 200);
    assert_eq!(chat(port, Some("ollama")).await.status, 401);
    let closed = ModelsChange::Closed {
        instance: life.instance,
    };
    host.models().change(&host.api, closed);
    host.down(&dir).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn a_program_without_a_network_reaches_models_over_its_socket() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = host.life(1);
    host.api.serve_all().await.unwrap();
    host.api.observe(&Announcement {
        at: jiff::Timestamp::UNIX_EPOCH,
        agent: AGENT.parse().unwrap(),
        happened: Happened::Started {
            instance: life.instance.clone(),
            pid: std::process::id(),
        },
    });
    let socket = &life.spec.launch.env["OPENCLAW_SOCK"];
    let path = "/llm/v1/chat/completions";
    let stream = UnixStream::connect(socket).await.unwrap();
    let answer = ask(stream, path, Some(life.token())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let stream = UnixStream::connect(socket).await.unwrap();
    assert_eq!(ask(stream, path, None).await.status, 401);
    let stream = UnixStream::connect(socket).await.unwrap();
    let elsewhere = ask(stream, "/llm/v1/nothing", Some(life.token())).await;
    assert_eq!(elsewhere.status, 404);
    assert!(elsewhere.text.contains("/v1/nothing"), "{elsewhere:?}");
    assert_eq!(fake.seen().len(), 1);
    host.down(&dir).await;
}

#[tokio::test]
async fn models_come_and_go_with_the_fleet_file() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let mut host = Host::up(dir.path(), without_models()).await;
    let before = host.life(1);
    assert_eq!(before.spec.launch.models, None);
    assert!(!before.spec.launch.env.contains_key("OPENAI_BASE_URL"));
    assert!(!dir.path().join("llm").exists());

    host.reload(fleet(&fake, PLENTY)).await;
    let life = host.life(2);
    assert_eq!(life.chat().await.status, 200);
    host.api.serve_all().await.unwrap();
    let stream = UnixStream::connect(&life.spec.launch.env["OPENCLAW_SOCK"]);
    let stream = stream.await.unwrap();

    host.reload(without_models()).await;
    let refused = ask(stream, "/llm/v1/chat/completions", Some(life.token())).await;
    assert_eq!(refused.status, 403, "{refused:?}");

    host.reload(fleet(&fake, PLENTY)).await;
    let again = host.life(3);
    assert_eq!(again.port(), life.port(), "its port is still its own");
    assert_eq!(again.chat().await.status, 200);
    host.down(&dir).await;
}

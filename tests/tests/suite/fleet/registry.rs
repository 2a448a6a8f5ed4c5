//! A registry of images for one test, on a port of loopback, which engines trust without TLS.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::engine::{Engine, IMAGE};
use super::folder::free_port;
use super::patience::until;

/// `htpasswd -Bbn me secret`.
const LOGIN: &str = "me:$2y$05$QgrLv/vuzpMWoWQhBNMkAePPpDsYxn4JhZqqa5ZbNliBHlSZKcBY.\n";

/// Who may ask a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Everybody,
    /// `me` with the password `secret`.
    Login,
}

/// A registry that runs, and ends with this.
pub(crate) struct Registry {
    port: u16,
    program: Child,
    dir: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}

impl Registry {
    /// Starts one; `None`, and said, where there is no program for it.
    pub(crate) fn start(test: &str, access: Access) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let place = dir.path().display();
        let auth = match access {
            Access::Everybody => String::new(),
            Access::Login => format!("auth: {{htpasswd: {{realm: test, path: {place}/logins}}}}\n"),
        };
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {place}/data}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\n{auth}"
        );
        fs::write(dir.path().join("logins"), LOGIN).unwrap();
        fs::write(dir.path().join("config.yml"), config).unwrap();
        let program = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(program) = program else {
            eprintln!("SKIP {test}: there is no docker-registry");
            return None;
        };
        let registry = Self { port, program, dir };
        until("the registry listens", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(registry)
    }

    /// `127.0.0.1:PORT/NAME`.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Its name among credentials.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An entry of `auths` for it.
    pub(crate) fn login(&self, user: &str, password: &str) -> String {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        format!(
            r#"{{"auths": {{"{}": {{"auth": "{pair}"}}}}}}"#,
            self.address()
        )
    }

    /// Gives it an image under this name, which says a word and stays; the image's digest. The
    /// engine has it no more.
    pub(crate) fn publish(&self, engine: &Engine, name: &str, word: &str) -> String {
        let image = self.image(name);
        let command = format!("trap 'exit 0' TERM; echo {word}; while :; do sleep 0.1; done");
        let change = format!("CMD {}", serde_json::json!(["sh", "-c", command]));
        let context = format!("FROM {IMAGE}\n{change}\n");
        let build = tempfile::tempdir().unwrap();
        fs::write(build.path().join("Dockerfile"), context).unwrap();
        let built = Command::new("docker")
            .args(["build", "--quiet", "--tag", &image])
            .arg(build.path())
            .env("DOCKER_HOST", &engine.address)
            .env("DOCKER_BUILDKIT", "0")
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        let login = self.dir.path().join("login");
        fs::create_dir_all(&login).unwrap();
        fs::write(login.join("config.json"), self.login("me", "secret")).unwrap();
        let login = login.to_str().unwrap();
        engine.docker(&["--config", login, "push", &image]).unwrap();
        let format = "{{index .RepoDigests 0}}";
        let digest = engine.docker(&["inspect", "--format", format, &image]);
        self.forget(engine, name);
        let digest = digest.unwrap();
        digest.rsplit_once('@').unwrap().1.to_owned()
    }

    /// Removes what the engine has of an image.
    pub(crate) fn forget(&self, engine: &Engine, name: &str) {
        let image = self.image(name);
        engine.docker(&["rmi", "--force", &image]).unwrap();
    }

    /// Stops it, as one that does not answer, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.program.id().cast_signed()), signal).unwrap();
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}

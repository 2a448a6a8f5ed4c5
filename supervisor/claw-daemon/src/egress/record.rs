//! What was decided, one line of JSON each, in `agents/<name>/egress.jsonl` of the data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claw_gateway::egress::policy::Denial;
use claw_gateway::egress::{CloseCause, Decision, Entrance, Verdict};
use serde::Serialize;
use tokio::sync::mpsc;

/// A file of this size is put aside, in the place of the one that was put aside before.
const MOST: u64 = 4 << 20;

/// Decisions that are written at once.
const BATCH: usize = 256;

/// Hosts of one agent that the log tells of.
const MOST_TOLD: usize = 64;

/// The name of the file.
const FILE: &str = "egress.jsonl";

/// The name of the file before it.
const EARLIER: &str = "egress.1.jsonl";

/// Writes decisions down, on a thread of its own.
pub(super) struct Recorder {
    data_dir: PathBuf,
    files: BTreeMap<Arc<str>, Open>,
    /// Which hosts the log has told of, by agent.
    told: BTreeMap<Arc<str>, BTreeSet<(String, u16)>>,
}

struct Open {
    file: File,
    size: u64,
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    at: jiff::Timestamp,
    by: &'static str,
    host: &'a str,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(flatten)]
    verdict: Said,
}

#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
enum Said {
    Allowed,
    Denied {
        reason: &'static str,
        detail: String,
    },
    Unreachable {
        detail: String,
    },
    Closed {
        sent: u64,
        received: u64,
        open_seconds: f64,
        cause: &'static str,
    },
}

impl Recorder {
    /// Writes until nobody can decide any more.
    pub(super) fn start(data_dir: PathBuf, mut decisions: mpsc::Receiver<Decision>) {
        let recorder = Self {
            data_dir,
            files: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        let writing = move || {
            let mut recorder = recorder;
            let mut batch = Vec::with_capacity(BATCH);
            while decisions.blocking_recv_many(&mut batch, BATCH) > 0 {
                recorder.write(batch.drain(..));
            }
        };
        let thread = std::thread::Builder::new().name("claw-egress".to_owned());
        if let Err(error) = thread.spawn(writing) {
            tracing::error!(%error, "what agents reach is not written down");
        }
    }

    fn write(&mut self, decisions: impl Iterator<Item = Decision>) {
        let mut texts: BTreeMap<Arc<str>, Vec<u8>> = BTreeMap::new();
        for decision in decisions {
            if let Verdict::Denied(denial) = &decision.verdict {
                self.tell(&decision.agent, denial);
            }
            let text = texts.entry(Arc::clone(&decision.agent)).or_default();
            // Writing into memory does not fail, and lines have text keys.
            serde_json::to_writer(&mut *text, &line(&decision)).ok();
            text.push(b'\n');
        }
        for (agent, text) in texts {
            if let Err(error) = self.append(&agent, &text) {
                self.files.remove(&agent);
                tracing::warn!(%agent, %error, "what the agent reached was not written down");
            }
        }
    }

    /// Says it once for each host, and not for more of them than somebody would read.
    fn tell(&mut self, agent: &Arc<str>, denial: &Denial) {
        let told = self.told.entry(Arc::clone(agent)).or_default();
        let place = (denial.host.clone(), denial.port);
        if told.len() < MOST_TOLD && told.insert(place) {
            let (host, port, reason) = (&denial.host, denial.port, denial.cause());
            tracing::warn!(%agent, host, port, reason, "the agent was not let out; `clawctl sandbox why-blocked {agent}` names the line that would allow it");
        }
    }

    fn append(&mut self, agent: &Arc<str>, text: &[u8]) -> io::Result<()> {
        let dir = self.data_dir.join("agents").join(&**agent);
        let full = self.files.get(agent).is_some_and(|open| open.size > MOST);
        if full {
            self.files.remove(agent);
            fs::rename(dir.join(FILE), dir.join(EARLIER))?;
        }
        if !self.files.contains_key(agent) {
            self.files.insert(Arc::clone(agent), open(&dir)?);
        }
        let Some(open) = self.files.get_mut(agent) else {
            return Ok(());
        };
        open.file.write_all(text)?;
        open.size += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn open(dir: &Path) -> io::Result<Open> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o711).create(dir)?;
    let file = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(dir.join(FILE))?;
    let size = file.metadata()?.len();
    Ok(Open { file, size })
}

fn line(decision: &Decision) -> Line<'_> {
    let Decision {
        at,
        agent: _,
        entrance,
        host,
        port,
        address,
        rule,
        verdict,
    } = decision;
    Line {
        at: *at,
        by: entrance_word(*entrance),
        host,
        port: *port,
        address: *address,
        rule: rule
            .as_ref()
            .map(claw_gateway::egress::policy::Source::as_str),
        verdict: said(verdict),
    }
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Allowed => Said::Allowed,
        Verdict::Denied(denial) => Said::Denied {
            reason: denial.reason.code(),
            detail: denial.to_string(),
        },
        Verdict::Unreachable(detail) => Said::Unreachable {
            detail: detail.clone(),
        },
        Verdict::Closed {
            sent,
            received,
            open,
            cause,
        } => Said::Closed {
            sent: *sent,
            received: *received,
            open_seconds: open.as_secs_f64(),
            cause: cause_word(*cause),
        },
    }
}

/// How a request came, in one word.
pub(super) const fn entrance_word(entrance: Entrance) -> &'static str {
    match entrance {
        Entrance::Connect => "connect",
        Entrance::Http => "http",
        Entrance::CapturedTls => "captured_tls",
        Entrance::CapturedHttp => "captured_http",
        Entrance::Dns => "dns",
    }
}

const fn cause_word(cause: CloseCause) -> &'static str {
    match cause {
        CloseCause::Ended => "ended",
        CloseCause::Idle => "idle",
        CloseCause::PolicyChanged => "policy_changed",
        CloseCause::TooManyBytes => "too_many_bytes",
        CloseCause::Stopped => "stopped",
    }
}

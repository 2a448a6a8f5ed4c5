//! What a fleet has on record: ends, slots, runs, output.

use std::fs;

use claw_daemon::api::{LogLine, Run, RunList, Transition, TransitionKind, TransitionList};

use super::{Fleet, until};

impl Fleet {
    /// The last transitions of an agent, oldest first.
    #[track_caller]
    pub(crate) fn transitions(&self, name: &str) -> Vec<Transition> {
        let list: TransitionList = self
            .api()
            .get(&format!("/api/agents/{name}/transitions?limit=500"));
        let mut transitions = list.transitions;
        transitions.reverse();
        transitions
    }

    /// The generations of an agent that have ended, with the code of their cause, oldest first.
    #[track_caller]
    pub(crate) fn ends(&self, name: &str) -> Vec<(u64, String)> {
        let kinds = self.transitions(name).into_iter();
        kinds
            .filter_map(|transition| match transition.what {
                TransitionKind::Ended {
                    generation, cause, ..
                } => Some((generation, cause.code)),
                TransitionKind::Halted { .. }
                | TransitionKind::HaltLifted { .. }
                | TransitionKind::Slot { .. } => None,
            })
            .collect()
    }

    /// Waits until so many generations of an agent have ended.
    pub(crate) fn await_ends(&self, name: &str, count: usize) -> Vec<(u64, String)> {
        until(&format!("{count} ends of {name}"), || {
            Some(self.ends(name)).filter(|ends| ends.len() >= count)
        })
    }

    /// The runs of an agent, oldest first.
    #[track_caller]
    pub(crate) fn runs(&self, name: &str) -> Vec<Run> {
        let list: RunList = self
            .api()
            .get(&format!("/api/agents/{name}/runs?limit=100"));
        let mut runs = list.runs;
        runs.reverse();
        runs
    }

    /// Every line of an agent's log, as the API gives it.
    #[track_caller]
    pub(crate) fn log(&self, name: &str) -> Vec<LogLine> {
        let text = self
            .run(&["logs", name, "--since", "1h", "--output", "json"])
            .ok();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// All that an agent wrote, as it lies on disk.
    pub(crate) fn output(&self, name: &str) -> String {
        let lane = self.data().join("agents").join(name).join("log/lane-0");
        let mut files: Vec<_> = fs::read_dir(lane)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
            .collect();
        files.sort();
        let texts = files.iter().map(|file| fs::read(file).unwrap());
        String::from_utf8_lossy(&texts.collect::<Vec<_>>().concat()).into_owned()
    }

    /// Waits until an agent has written something.
    pub(crate) fn await_output(&self, name: &str, text: &str) {
        until(&format!("{name} writes {text:?}"), || {
            self.output(name).contains(text).then_some(())
        });
    }
}

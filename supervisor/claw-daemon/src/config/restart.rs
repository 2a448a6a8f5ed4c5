//! `restart_policy:` — what happens when an agent ends.

use std::collections::BTreeSet;
use std::time::Duration;

use claw_core::spec::{Backoff, ExitCodes, Mode, Restart, RestartPolicy};

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_life::{EXIT_CODES, RESTART};
use super::reader::Reader;
use super::tree::Value;
use super::value::{Rejected, percent};

const SETS: [&str; 4] = ["success", "retry", "fatal", "again"];

impl Reader<'_> {
    /// Reads the restart policy. Daemons are always restarted unless told otherwise; a failed run
    /// of a oneshot is not repeated unless asked.
    pub(super) fn restart(&mut self, fields: &Fields<'_>, mode: Mode) -> Restart {
        let mut restart = usual(mode);
        let Some(item) = fields.get("restart_policy") else {
            return restart;
        };
        if let Value::Text(scalar) = &item.node.value {
            let message = format!("`restart_policy` must be a map, found {}", item.shown());
            let policy = policy_of_elsewhere(&scalar.text);
            self.error(
                &item,
                Code::WrongType,
                message,
                format!("did you mean `restart_policy: {{policy: {policy}}}`?"),
            );
            return restart;
        }
        let Some(fields) = self.fields(&RESTART, &item) else {
            return restart;
        };
        if let Some(policy) = self.policy(&fields, mode) {
            restart.policy = policy;
        }
        if let Some(item) = fields.get("max_retries") {
            restart.max_retries = self.retries(&item).unwrap_or(restart.max_retries);
        }
        let shapes = [
            ("immediate", Backoff::Immediate),
            ("linear", Backoff::Linear),
            ("exponential", Backoff::Exponential),
        ];
        if let Some(backoff) = fields
            .get("backoff")
            .and_then(|item| self.choice(&item, &shapes))
        {
            restart.backoff = backoff;
        }
        self.delays(&fields, &mut restart);
        let jitter = fields.get("jitter");
        if let Some(jitter) =
            jitter.and_then(|item| self.parsed(&item, "a percentage", percent::parse))
        {
            restart.jitter_percent = jitter;
        }
        if let Some(codes) = self.inner(&fields, "exit_codes", &EXIT_CODES) {
            restart.exit_codes = self.exit_codes(&codes);
        }
        restart
    }

    fn policy(&mut self, fields: &Fields<'_>, mode: Mode) -> Option<RestartPolicy> {
        let item = fields.get("policy")?;
        let words = [
            ("always", RestartPolicy::Always),
            ("on-failure", RestartPolicy::OnFailure),
            ("never", RestartPolicy::Never),
        ];
        let policy = self.parsed(&item, "`always`, `on-failure` or `never`", |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, policy)| *policy).ok_or_else(|| {
                let near = policy_of_elsewhere(text);
                Rejected::plainly().help(format!("did you mean `{near}`?"))
            })
        })?;
        if policy == RestartPolicy::Always && mode == Mode::Oneshot {
            let message = "a oneshot that is always restarted would run without end";
            self.error(&item, Code::Conflict, message, "write `on-failure` or `never`; use `mode: daemon` or a `schedule` for work that goes on");
            return None;
        }
        Some(policy)
    }

    #[expect(clippy::option_option, reason = "the inner `None` is `unlimited`")]
    fn retries(&mut self, item: &Item<'_>) -> Option<Option<u32>> {
        self.parsed(item, "a number of retries", |text| match text {
            "unlimited" => Ok(None),
            "infinite" | "inf" | "-1" | "always" | "never" => {
                Err(Rejected::new("it is no number").help("did you mean `unlimited`?"))
            }
            _ => match text.parse::<u32>() {
                Ok(number) if number <= 1_000_000 => Ok(Some(number)),
                Ok(_) | Err(_) => Err(Rejected::new("it is not a whole number from 0 to 1000000")
                    .help("write a number, or `unlimited`")),
            },
        })
    }

    fn delays(&mut self, fields: &Fields<'_>, restart: &mut Restart) {
        let initial = fields.get("initial_delay");
        let longest = fields.get("max_delay");
        if let Some(delay) = initial.as_ref().and_then(|item| self.some_time(item)) {
            restart.initial_delay = delay;
            if longest.is_none() {
                restart.max_delay = restart.max_delay.max(delay);
            }
        }
        if let Some(delay) = longest.as_ref().and_then(|item| self.some_time(item)) {
            restart.max_delay = delay;
            if initial.is_none() {
                restart.initial_delay = restart.initial_delay.min(delay);
            }
        }
        if let Some(item) = longest.filter(|_| restart.max_delay < restart.initial_delay) {
            let message = "`max_delay` is shorter than `initial_delay`";
            self.error(
                &item,
                Code::InvalidValue,
                message,
                "make it the longer of the two",
            );
        }
        let reset = fields.get("reset_after");
        if let Some(reset) = reset.and_then(|item| self.some_time(&item)) {
            restart.reset_after = reset;
        }
    }

    /// A code that is written in one set leaves the usual members of the others.
    fn exit_codes(&mut self, fields: &Fields<'_>) -> ExitCodes {
        let mut written: Vec<(Item<'_>, u8)> = Vec::new();
        for item in fields.present(&SETS) {
            for code in self.codes(&item) {
                if let Some((first, _)) = written.iter().find(|(_, known)| *known == code) {
                    let message = format!(
                        "exit code {code} is in `{}` and in `{}`",
                        first.name(),
                        item.name()
                    );
                    self.only_one(
                        &[first.clone(), item.clone()],
                        &message,
                        "keep it in one of them",
                    );
                }
                written.push((item.clone(), code));
            }
        }
        let usual = usual_codes();
        let set = |name: &str, usual: BTreeSet<u8>| -> BTreeSet<u8> {
            if fields.get(name).is_some() {
                let own = written.iter().filter(|(item, _)| item.name() == name);
                return own.map(|(_, code)| *code).collect();
            }
            let taken = |code: &u8| written.iter().any(|(_, known)| known == code);
            usual.into_iter().filter(|code| !taken(code)).collect()
        };
        ExitCodes {
            success: set("success", usual.success),
            retry: set("retry", usual.retry),
            fatal: set("fatal", usual.fatal),
            again: set("again", usual.again),
        }
    }

    fn codes(&mut self, item: &Item<'_>) -> BTreeSet<u8> {
        let mut codes = BTreeSet::new();
        for item in self.one_or_more(item) {
            let code = self.parsed(&item, "an exit code", |text| {
                text.parse::<u8>()
                    .map_err(|_unreadable| Rejected::new("exit codes are numbers from 0 to 255"))
            });
            codes.extend(code);
        }
        codes
    }
}

fn usual(mode: Mode) -> Restart {
    Restart {
        policy: match mode {
            Mode::Daemon | Mode::Worker => RestartPolicy::Always,
            Mode::Oneshot => RestartPolicy::Never,
        },
        max_retries: Some(5),
        backoff: Backoff::Exponential,
        initial_delay: Duration::from_secs(5),
        max_delay: Duration::from_secs(300),
        reset_after: Duration::from_secs(3600),
        jitter_percent: 10,
        exit_codes: usual_codes(),
    }
}

fn usual_codes() -> ExitCodes {
    ExitCodes {
        success: BTreeSet::from([0]),
        retry: BTreeSet::from([75]),
        fatal: BTreeSet::from([78]),
        again: BTreeSet::new(),
    }
}

/// The policy meant by a word of Compose, systemd or Kubernetes.
pub(super) fn policy_of_elsewhere(word: &str) -> &'static str {
    match word.to_lowercase().as_str() {
        "no" | "none" | "false" | "never" => "never",
        "onfailure" | "on_failure" | "on-abnormal" | "on-abort" | "on-failure" | "failure"
        | "unexpected" => "on-failure",
        word if word.starts_with("on-failure") => "on-failure",
        _ => "always",
    }
}

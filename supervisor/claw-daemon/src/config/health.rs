//! `health_check:` — probes and their checks.

use std::num::NonZeroU16;
use std::time::Duration;

use claw_core::spec::{Breaker, Check, Mode, Probe, Probes, Progress};

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_health::{BREAKER, CHECKS, HEALTH, HTTP, PROBE, PROGRESS, TCP};
use super::reader::Reader;
use super::tree::Value;
use super::value::Rejected;

const LOOPBACK: &str = "127.0.0.1";

/// What a probe has when it says nothing.
struct Usual {
    interval: Duration,
    timeout: Duration,
    threshold: u32,
}

const STARTUP: Usual = Usual {
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(1),
    threshold: 60,
};
const LIVENESS: Usual = Usual {
    interval: Duration::from_secs(30),
    timeout: Duration::from_secs(10),
    threshold: 3,
};
const READINESS: Usual = Usual {
    interval: Duration::from_secs(15),
    timeout: Duration::from_secs(5),
    threshold: 2,
};

impl Reader<'_> {
    /// Reads how an agent's health is judged.
    ///
    /// A worker says itself when it is ready, and is asked whether it lives, unless the file says
    /// otherwise. The core knows both as heartbeats: the questions are the socket's.
    pub(super) fn probes(&mut self, fields: &Fields<'_>, mode: Mode) -> Probes {
        let fields = self.inner(fields, "health_check", &HEALTH);
        let mut probes = fields.map_or_else(Probes::default, |fields| Probes {
            startup: self.probe(&fields, "startup", &STARTUP, mode),
            liveness: self.probe(&fields, "liveness", &LIVENESS, mode),
            readiness: self.probe(&fields, "readiness", &READINESS, mode),
            progress: self.progress(&fields),
            breaker: self.breaker(&fields),
        });
        if mode == Mode::Worker {
            probes.startup.get_or_insert_with(|| asked(&STARTUP));
            probes.liveness.get_or_insert_with(|| asked(&LIVENESS));
        }
        probes
    }

    fn progress(&mut self, fields: &Fields<'_>) -> Option<Progress> {
        let item = fields.get("progress")?;
        if let Value::Text(_) = item.node.value {
            self.error(
                &item,
                Code::WrongType,
                format!("`progress` must be a map, found {}", item.shown()),
                "did you mean `progress: {max_silence: 30m}`?",
            );
            return None;
        }
        let fields = self.fields(&PROGRESS, &item)?;
        let Some(silence) = fields.get("max_silence") else {
            self.error(
                &item,
                Code::MissingKey,
                "`progress` has no `max_silence`",
                "add `max_silence: 30m`",
            );
            return None;
        };
        let max_silence = self.some_time(&silence)?;
        Some(Progress { max_silence })
    }

    fn breaker(&mut self, fields: &Fields<'_>) -> Breaker {
        let usual = Breaker::default();
        let Some(fields) = self.inner(fields, "breaker", &BREAKER) else {
            return usual;
        };
        let calls = fields.get("calls");
        let calls = calls.and_then(|item| self.whole(&item, (2, 1000)));
        let calls = calls.and_then(|calls| u16::try_from(calls).ok());
        let within = fields.get("within");
        Breaker {
            calls: calls.and_then(NonZeroU16::new).unwrap_or(usual.calls),
            within: within
                .and_then(|item| self.some_time(&item))
                .unwrap_or(usual.within),
        }
    }

    fn probe(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        usual: &Usual,
        mode: Mode,
    ) -> Option<Probe> {
        let item = fields.get(key)?;
        if let Value::Text(_) = item.node.value {
            self.error(&item, Code::WrongType, format!("`{key}` must be a map, found {}", item.shown()), format!("write `{key}: {{exec: [PROGRAM]}}`, or `http`, `tcp` or `heartbeat` in its place"));
            return None;
        }
        let fields = self.fields(&PROBE, &item)?;
        let check = self.check(&fields, mode);
        if let (Some(item), false) = (fields.get("sdk"), mode == Mode::Worker) {
            let message = "`sdk` asks the agent over its socket, which only a worker answers";
            let help = "give it a `source`, or use `exec`, `http`, `tcp` or `heartbeat`";
            self.key_error(&item, Code::Conflict, message, help);
        }
        let interval = fields
            .get("interval")
            .and_then(|item| self.some_time(&item));
        let timeout = fields.get("timeout").and_then(|item| self.some_time(&item));
        let thresholds = fields.present(&["threshold", "unhealthy_threshold"]);
        self.only_one(
            &thresholds,
            "`threshold` and `unhealthy_threshold` say the same thing",
            "keep one of them",
        );
        let threshold = thresholds.first().and_then(|item| self.count(item));
        let beats = fields.get("heartbeat").is_some();
        if let (true, Some(Check::Heartbeat), Some(timeout)) =
            (beats, &check, fields.get("timeout"))
        {
            let message = "a heartbeat has no `timeout`: it is late when `interval` has passed";
            self.error(
                &timeout,
                Code::Conflict,
                message,
                "remove it, or set `interval`",
            );
        }
        Some(Probe {
            check: check?,
            interval: interval.unwrap_or(usual.interval),
            timeout: timeout.unwrap_or(usual.timeout),
            threshold: threshold.unwrap_or(usual.threshold),
        })
    }

    fn count(&mut self, item: &Item<'_>) -> Option<u32> {
        let number = self.whole(item, (1, 1_000_000))?;
        u32::try_from(number).ok()
    }

    fn check(&mut self, fields: &Fields<'_>, mode: Mode) -> Option<Check> {
        let given = fields.present(&CHECKS);
        self.only_one(
            &given,
            "a probe checks one thing",
            "keep one of `exec`, `http`, `tcp`, `heartbeat` and `sdk`",
        );
        let Some(item) = given.first() else {
            if mode == Mode::Worker {
                return Some(Check::Heartbeat);
            }
            let message = format!("`{}` does not say what to check", fields.item.name());
            self.error(&fields.item, Code::MissingKey, message, "add one of `exec: [PROGRAM]`, `http: {port: 8080}`, `tcp: {port: 8080}` and `heartbeat: {}`");
            return None;
        };
        match item.name() {
            "exec" => {
                let command = self.command(item)?;
                Some(Check::Exec { command })
            }
            "http" => self.http(item),
            "tcp" => self.tcp(item),
            _ => self.heartbeat(item),
        }
    }

    fn http(&mut self, item: &Item<'_>) -> Option<Check> {
        let fields = self.fields(&HTTP, item)?;
        let port = self.port(&fields);
        let path = fields
            .get("path")
            .and_then(|item| self.parsed(&item, "a path", path));
        let status = fields
            .get("status")
            .and_then(|item| self.whole(&item, (100, 599)));
        let body = fields.get("body").and_then(|item| self.text(&item));
        let host = self.host(&fields);
        Some(Check::Http {
            host,
            port: port?,
            path: path.unwrap_or_else(|| "/".to_owned()),
            status: status.and_then(|status| u16::try_from(status).ok()),
            body,
        })
    }

    fn tcp(&mut self, item: &Item<'_>) -> Option<Check> {
        let fields = self.fields(&TCP, item)?;
        let port = self.port(&fields);
        let host = self.host(&fields);
        Some(Check::Tcp { host, port: port? })
    }

    fn port(&mut self, fields: &Fields<'_>) -> Option<u16> {
        let Some(item) = fields.get("port") else {
            let message = format!("`{}` has no `port`", fields.item.name());
            self.error(&fields.item, Code::MissingKey, message, "add `port: 8080`");
            return None;
        };
        let port = self.whole(&item, (1, 65_535))?;
        u16::try_from(port).ok()
    }

    fn host(&mut self, fields: &Fields<'_>) -> String {
        let host = fields
            .get("host")
            .and_then(|item| self.parsed(&item, "a host", host));
        host.unwrap_or_else(|| LOOPBACK.to_owned())
    }

    fn heartbeat(&mut self, item: &Item<'_>) -> Option<Check> {
        let empty = match &item.node.value {
            Value::Null => true,
            Value::Map(map) => map.entries.is_empty(),
            Value::Text(_) => return self.boolean(item)?.then_some(Check::Heartbeat),
            Value::List(_) => false,
        };
        if !empty {
            self.error(
                item,
                Code::WrongType,
                format!("`{}` has no settings of its own", item.name()),
                format!("write `{}: {{}}` and put `interval` beside it", item.name()),
            );
            return None;
        }
        Some(Check::Heartbeat)
    }
}

/// The probe of a worker for which nothing else is written.
fn asked(usual: &Usual) -> Probe {
    Probe {
        check: Check::Heartbeat,
        interval: usual.interval,
        timeout: usual.timeout,
        threshold: usual.threshold,
    }
}

fn path(text: &str) -> Result<String, Rejected> {
    if !text.starts_with('/') {
        return Err(
            Rejected::new("it does not begin with `/`").help(format!("did you mean `/{text}`?"))
        );
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Rejected::new("it has a space in it").help("write a space as `%20`"));
    }
    Ok(text.to_owned())
}

fn host(text: &str) -> Result<String, Rejected> {
    let help = "write a name or an address alone, such as `127.0.0.1`";
    if text.contains("://") || text.contains('/') {
        return Err(Rejected::new("it is a URL").help(help));
    }
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Rejected::new("it has no usable name").help(help));
    }
    Ok(text.to_owned())
}

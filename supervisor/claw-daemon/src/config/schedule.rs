//! `schedule:` as text or as a map.

use std::time::Duration;

use claw_core::spec::schedule::RunOnStart;
use claw_core::spec::{CatchUp, CronError, CronExpression, Overlap, Schedule, Timing};
use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_life::SCHEDULE;
use super::reader::Reader;
use super::section::nearest;
use super::tree::Value;
use super::value::{Rejected, duration};

const FORMS: &str =
    "write `every 5m`, `daily 09:00` or a cron expression in quotes, such as \"*/5 * * * *\"";
/// More often, and agents would do little but start.
const SHORTEST: Duration = Duration::from_secs(1);
const CATCH_UP: [(&str, CatchUp); 3] = [
    ("none", CatchUp::None),
    ("one", CatchUp::One),
    ("all", CatchUp::All),
];

impl Reader<'_> {
    /// Reads an agent's schedule.
    pub(super) fn schedule(&mut self, fields: &Fields<'_>) -> Option<Schedule> {
        let on_missed = fields.get("on_missed");
        let Some(item) = fields.get("schedule") else {
            if let Some(on_missed) = on_missed {
                self.error(
                    &on_missed,
                    Code::Conflict,
                    "`on_missed` is about a schedule, and there is none",
                    "remove it, or add a `schedule`",
                );
            }
            return None;
        };
        let mut schedule = match &item.node.value {
            Value::Text(scalar) => {
                let timing = self.spoken(&item, &scalar.text)?;
                defaults(timing)
            }
            Value::Map(_) => self.schedule_map(&item, on_missed.as_ref())?,
            Value::Null | Value::List(_) => {
                self.wrong_type(&item, "a text such as `every 5m`, or a map");
                return None;
            }
        };
        let missed = on_missed.and_then(|item| self.choice(&item, &CATCH_UP));
        schedule.catch_up = missed.unwrap_or(schedule.catch_up);
        Some(schedule)
    }

    /// `every 5m`, `daily 09:00`, `cron "…"`, or a cron expression alone.
    fn spoken(&mut self, item: &Item<'_>, text: &str) -> Option<Timing> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let zone = self.environment.time_zone.clone();
        match word {
            "every" => self.parsed(item, "a schedule", |_| every(rest)),
            "daily" | "at" => {
                let at = self.parsed(item, "a schedule", |_| time_of_day(rest))?;
                Some(Timing::Daily { at, zone })
            }
            "cron" => self.cron(item, rest.trim().trim_matches(['"', '\'']), zone),
            _ if looks_like_cron(text) => self.cron(item, text, zone),
            _ => {
                let rejected = unknown_schedule(text);
                self.rejected(item, "a schedule", rejected);
                None
            }
        }
    }

    fn schedule_map(&mut self, item: &Item<'_>, on_missed: Option<&Item<'_>>) -> Option<Schedule> {
        let fields = self.fields(&SCHEDULE, item)?;
        let timing = self.timing(&fields);
        let overlaps = [
            ("skip", Overlap::Skip),
            ("queue", Overlap::Queue),
            ("replace", Overlap::Replace),
            ("allow", Overlap::Allow),
        ];
        let overlap = fields
            .get("overlap")
            .and_then(|item| self.choice(&item, &overlaps));
        let catch_up = fields.get("catch_up");
        if let (Some(written), Some(on_missed)) = (&catch_up, on_missed) {
            let both = [written.clone(), on_missed.clone()];
            self.only_one(
                &both,
                "`on_missed` and `catch_up` say the same thing",
                "keep one of them",
            );
        }
        let catch_up = catch_up.and_then(|item| self.choice(&item, &CATCH_UP));
        let max_lateness = fields
            .get("max_lateness")
            .and_then(|item| self.some_time(&item));
        let jitter = fields.get("jitter").and_then(|item| self.duration(&item));
        let timeout = fields.get("timeout").and_then(|item| self.some_time(&item));
        let on_start = fields
            .get("run_on_start")
            .and_then(|item| self.boolean(&item));
        let timing = timing?;
        self.jitter_fits(&fields, &timing, jitter);
        let usual = defaults(timing);
        Some(Schedule {
            overlap: overlap.unwrap_or(usual.overlap),
            catch_up: catch_up.unwrap_or(usual.catch_up),
            max_lateness,
            jitter: jitter.unwrap_or_default(),
            timeout,
            run_on_start: match on_start {
                Some(true) => RunOnStart::Yes,
                Some(false) => RunOnStart::No,
                None => usual.run_on_start,
            },
            timing: usual.timing,
        })
    }

    fn timing(&mut self, fields: &Fields<'_>) -> Option<Timing> {
        let zone = match fields.get("timezone") {
            Some(item) => self.zone(&item),
            None => Some(self.environment.time_zone.clone()),
        };
        let given = fields.present(&["every", "cron", "daily"]);
        self.only_one(
            &given,
            "a schedule has one of `every`, `cron` and `daily`",
            "keep one of them",
        );
        let Some(item) = given.first() else {
            self.error(
                &fields.item,
                Code::MissingKey,
                "the schedule does not say when",
                "add one of `every`, `cron` and `daily`",
            );
            return None;
        };
        match item.name() {
            "every" => {
                if let Some(zone) = fields.get("timezone").filter(|_| given.len() == 1) {
                    self.error(
                        &zone,
                        Code::Conflict,
                        "`every` counts time and knows no zone",
                        "remove the `timezone`",
                    );
                }
                self.parsed(item, "a time between runs", every)
            }
            "daily" => {
                let at = self.parsed(item, "a time of day", time_of_day)?;
                Some(Timing::Daily { at, zone: zone? })
            }
            _ => {
                let text = self.text(item)?;
                self.cron(item, &text, zone?)
            }
        }
    }

    /// A time zone by its name.
    pub(super) fn zone(&mut self, item: &Item<'_>) -> Option<TimeZone> {
        self.parsed(item, "a time zone", |name| {
            TimeZone::get(name).map_err(|_unknown| {
                let known = jiff::tz::db();
                let names: Vec<String> = known
                    .available()
                    .map(|name| name.as_str().to_owned())
                    .collect();
                let rejected = Rejected::new("the zone database does not know it");
                match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => rejected.help(format!("did you mean `{near}`?")),
                    None => rejected.help("write an IANA name such as `Europe/Berlin` or `UTC`"),
                }
            })
        })
    }

    fn cron(&mut self, item: &Item<'_>, text: &str, zone: TimeZone) -> Option<Timing> {
        if self.problems.is_settled() {
            return None;
        }
        let expression = self.parsed(item, "a cron expression", |_| cron_expression(text))?;
        Some(Timing::Cron { expression, zone })
    }

    fn jitter_fits(&mut self, fields: &Fields<'_>, timing: &Timing, jitter: Option<Duration>) {
        let (Timing::Every(period), Some(jitter)) = (timing, jitter) else {
            return;
        };
        if let Some(item) = fields.get("jitter").filter(|_| jitter >= *period) {
            let message = "`jitter` is not shorter than the time between runs";
            self.error(
                &item,
                Code::InvalidValue,
                message,
                "make it shorter, so that runs keep their order",
            );
        }
    }
}

fn defaults(timing: Timing) -> Schedule {
    let run_on_start = match &timing {
        Timing::Every(_) => RunOnStart::Yes,
        Timing::Cron { .. } | Timing::Daily { .. } => RunOnStart::No,
    };
    Schedule {
        timing,
        overlap: Overlap::Skip,
        catch_up: CatchUp::One,
        max_lateness: None,
        jitter: Duration::ZERO,
        timeout: None,
        run_on_start,
    }
}

/// When an agent's own program wants to run.
#[derive(Debug, Clone, Copy)]
pub enum DeclaredTiming<'a> {
    /// So much time apart.
    Every(Duration),
    /// A cron expression.
    Cron(&'a str),
    /// A time of day.
    Daily(&'a str),
}

/// Makes the schedule that an agent's own program declares.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn declared_schedule(
    timing: DeclaredTiming<'_>,
    zone: Option<&str>,
    run_on_start: Option<bool>,
) -> Result<Schedule, String> {
    let zone = match zone {
        Some(name) => {
            TimeZone::get(name).map_err(|_unknown| format!("`{name}` is no time zone"))?
        }
        None => TimeZone::system(),
    };
    let timing = match timing {
        DeclaredTiming::Every(period) => Timing::Every(period),
        DeclaredTiming::Cron(text) => {
            let expression = cron_expression(text).map_err(|rejected| rejected.why)?;
            Timing::Cron { expression, zone }
        }
        DeclaredTiming::Daily(text) => {
            let at = time_of_day(text).map_err(|rejected| rejected.why)?;
            Timing::Daily { at, zone }
        }
    };
    let usual = defaults(timing);
    Ok(Schedule {
        run_on_start: match run_on_start {
            Some(true) => RunOnStart::Yes,
            Some(false) => RunOnStart::No,
            None => usual.run_on_start,
        },
        ..usual
    })
}

fn every(text: &str) -> Result<Timing, Rejected> {
    let text = text.trim();
    let period = match duration::parse(text) {
        Ok(period) => period,
        Err(rejected) => {
            let close = duration::parse(&text.replace(' ', ""));
            return Err(match close {
                Ok(period) => Rejected::new("the duration has a space in it").help(format!(
                    "did you mean `every {}`?",
                    duration::format(period)
                )),
                Err(inner) => Rejected {
                    why: format!("after `every`: {}", rejected.why),
                    help: inner.help,
                },
            });
        }
    };
    if period < SHORTEST {
        return Err(Rejected::new("it is shorter than 1s")
            .help("use `mode: daemon` for a program that works all the time"));
    }
    Ok(Timing::Every(period))
}

fn time_of_day(text: &str) -> Result<Time, Rejected> {
    const FORM: &str = "write hours and minutes, such as `09:00`";
    let mut parts = text.trim().splitn(3, ':').map(|part| {
        let digits = part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<i8>().ok()).flatten()
    });
    let hour = parts.next().flatten();
    let minute = parts.next().flatten();
    let second = parts.next().unwrap_or(Some(0));
    match (hour, minute, second) {
        (Some(hour), Some(minute), Some(second)) => Time::new(hour, minute, second, 0)
            .map_err(|_out_of_range| Rejected::new("no day has that time").help(FORM)),
        _ => Err(Rejected::new("its time cannot be read").help(FORM)),
    }
}

fn unknown_schedule(text: &str) -> Rejected {
    if matches!(text, "hourly" | "weekly" | "monthly" | "yearly") {
        return Rejected::new("it lacks its `@`").help(format!("did you mean `\"@{text}\"`?"));
    }
    if duration::parse(text).is_ok() {
        let help = format!("did you mean `every {text}`?");
        return Rejected::new("it is a duration alone").help(help);
    }
    if time_of_day(text).is_ok() {
        let help = format!("did you mean `daily {text}`?");
        return Rejected::new("it is a time alone").help(help);
    }
    Rejected::new("it begins with none of `every`, `cron` and `daily`").help(FORMS)
}

/// Also what has too few fields, so that its fault is named.
fn looks_like_cron(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let begins = |field: &&str| field.starts_with(|c: char| c.is_ascii_digit() || c == '*');
    let short = fields.iter().all(begins) && fields.len() >= 2;
    text.starts_with('@') || short || (fields.len() >= 5 && fields.first().is_some_and(begins))
}

fn cron_expression(text: &str) -> Result<CronExpression, Rejected> {
    let fields = text.split_whitespace().count();
    if !text.starts_with('@') && !text.contains('=') && !(5..=6).contains(&fields) {
        return Err(Rejected::new(format!("it has {fields} fields"))
            .help("write five: minute, hour, day, month, weekday; or six with seconds first"));
    }
    CronExpression::parse(text).map_err(|error| match error {
        CronError::Syntax(reason) => {
            let reason = reason.rsplit(": ").next().unwrap_or(&reason);
            Rejected::new(reason.trim_end_matches('.').to_lowercase())
                .help("fields are minute, hour, day, month, weekday, such as \"30 2 * * 1-5\"")
        }
        CronError::UnknownName(_) => Rejected::new("no schedule has that name")
            .help("there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"),
        CronError::Reboot => Rejected::new("a start of the machine is no point in time")
            .help("use `run_on_start: true`, or no schedule: a oneshot runs once at start"),
        CronError::Every(_, every) => Rejected::new("`@every` is not part of it")
            .help(format!("did you mean `every {every}`?")),
        CronError::TimeZone(_) => Rejected::new("a time zone cannot stand in it")
            .help("use the map form with `timezone: …`"),
        CronError::NeverFires(_) => Rejected::new("it never fires: no date matches it")
            .help("check the day and the month, such as February 31"),
    })
}

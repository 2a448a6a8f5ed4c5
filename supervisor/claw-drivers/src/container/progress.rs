//! What is told of a start that takes long.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claw_core::{Fact, InstanceId};
use tokio::time::Instant;

use super::driver::Inner;

/// News are not told more often than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// And what stays as it is not less often: the core gives up a start that is silent.
const LONGEST: Duration = Duration::from_secs(15);

/// Tells how far a start is.
pub(super) struct Teller {
    audience: Audience,
    text: String,
    told: Option<Instant>,
}

/// Who is told.
enum Audience {
    Core {
        inner: Arc<Inner>,
        instance: InstanceId,
    },
    Nobody,
}

impl Teller {
    pub(super) const fn new(inner: Arc<Inner>, instance: InstanceId) -> Self {
        Self::to(Audience::Core { inner, instance })
    }

    /// One that nobody listens to.
    pub(super) const fn silent() -> Self {
        Self::to(Audience::Nobody)
    }

    const fn to(audience: Audience) -> Self {
        Self {
            audience,
            text: String::new(),
            told: None,
        }
    }

    /// Tells news, unless something was told a moment ago.
    pub(super) async fn tell(&mut self, text: String) {
        let early = self.told.is_some_and(|told| told.elapsed() < SHORTEST);
        let news = text != self.text;
        self.text = text;
        if news && !early {
            self.say().await;
        }
    }

    /// Waits, and repeats what was told last as often as it must be.
    pub(super) async fn beat_or<T>(&mut self, waiting: impl Future<Output = T>) -> T {
        let mut waiting = std::pin::pin!(waiting);
        loop {
            let due = self.told.map_or_else(Instant::now, |told| told + LONGEST);
            tokio::select! {
                done = &mut waiting => return done,
                () = tokio::time::sleep_until(due) => self.say().await,
            }
        }
    }

    async fn say(&mut self) {
        self.told = Some(Instant::now());
        match &self.audience {
            Audience::Core { inner, instance } => {
                let fact = Fact::Preparing {
                    instance: instance.clone(),
                    detail: self.text.clone(),
                };
                inner.tell(fact).await;
            }
            Audience::Nobody => {}
        }
    }
}

/// The layers of an image that is fetched.
#[derive(Debug, Default)]
pub(super) struct Layers(BTreeMap<String, Layer>);

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    done: bool,
    fetched: u64,
    total: u64,
}

impl Layers {
    /// Takes a line of the engine's report.
    pub(super) fn note(&mut self, id: &str, status: &str, detail: (Option<i64>, Option<i64>)) {
        let layer = id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !layer {
            return;
        }
        let layer = self.0.entry(id.to_owned()).or_default();
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        match status {
            "Downloading" => {
                layer.fetched = number(detail.0).unwrap_or(layer.fetched);
                layer.total = number(detail.1).unwrap_or(layer.total).max(layer.fetched);
            }
            "Download complete" | "Verifying Checksum" | "Extracting" => {
                layer.fetched = layer.total;
            }
            "Pull complete" | "Already exists" => {
                layer.fetched = layer.total;
                layer.done = true;
            }
            _ => {}
        }
    }
}

/// `: 43 % of 51 MiB, 3 of 5 layers`, as much of it as is known.
impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let total: u64 = self.0.values().map(|layer| layer.total).sum();
        let fetched: u64 = self.0.values().map(|layer| layer.fetched).sum();
        let done = self.0.values().filter(|layer| layer.done).count();
        if let Some(percent) = (fetched * 100).checked_div(total) {
            let mib = total.div_ceil(1 << 20);
            write!(f, ": {percent} % of {mib} MiB, ")?;
        } else {
            f.write_str(": ")?;
        }
        write!(f, "{done} of {} layers", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_add_up_to_one_line() {
        let mut layers = Layers::default();
        assert_eq!(layers.to_string(), "");
        layers.note("3.12-slim", "Pulling from library/python", (None, None));
        layers.note("aaaaaaaaaaaa", "Already exists", (None, None));
        layers.note("bbbbbbbbbbbb", "Pulling fs layer", (None, None));
        assert_eq!(layers.to_string(), ": 1 of 2 layers");
        layers.note(
            "bbbbbbbbbbbb",
            "Downloading",
            (Some(1 << 20), Some(4 << 20)),
        );
        assert_eq!(layers.to_string(), ": 25 % of 4 MiB, 1 of 2 layers");
        layers.note("bbbbbbbbbbbb", "Extracting", (Some(1), Some(9)));
        layers.note("bbbbbbbbbbbb", "Pull complete", (None, None));
        assert_eq!(layers.to_string(), ": 100 % of 4 MiB, 2 of 2 layers");
    }
}

//! The vocabulary of the fleet file: which keys a section has and what they hold. The checks for
//! unknown keys, the suggestions and the JSON Schema are all made from these tables.

/// A map with a fixed set of keys.
#[derive(Debug)]
pub(super) struct Section {
    /// What it is called in messages: "an agent", "`supervisor`".
    pub(super) title: &'static str,
    pub(super) keys: &'static [Key],
    /// Words of other tools, with what is meant by them here.
    pub(super) habits: &'static [(&'static str, &'static str)],
}

/// A key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// One sentence for editors.
    pub(super) help: &'static str,
}

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Whole(u64, u64),
    /// One of some whole numbers.
    Numbers(&'static [u64]),
    /// A whole number, or a word.
    WholeOr(u64, u64, &'static str),
    /// A duration such as `30s`.
    Duration,
    /// A memory size such as `512Mi`.
    Memory,
    /// A number of processors such as `0.5` or `500m`.
    Cpu,
    /// An amount in USD, such as `0.05`.
    Money,
    /// So many in a time, such as `500/min`.
    Rate,
    /// A percentage such as `10%`.
    Percent,
    /// A signal by name or number.
    Signal,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// One of some words, or a section in their place.
    ChoiceOr(&'static [&'static str], &'static Section),
    /// `true`, `false`, or a section in their place.
    BoolOr(&'static Section),
    /// A program with arguments: a list, or text that is split into words.
    Command,
    /// A program with arguments, or a map with it and its timeout.
    Hook,
    /// Text or a list of texts.
    TextOrList,
    /// A list of exit codes.
    ExitCodes,
    /// A list of exit codes and signals.
    CleanExits,
    /// A map of texts.
    TextMap,
    /// Anything at all.
    Free,
    /// Text, or a section in its place.
    TextOr(&'static Section),
    /// A list of texts and sections.
    ListOf(&'static Section),
    /// Nothing, `true` or an empty map.
    Flag,
    /// A list of agents, or a map of agents to conditions.
    Dependencies,
    /// A schedule as text or as a map.
    Schedule,
    /// A section of its own.
    Section(&'static Section),
    /// A map of names to sections.
    Named(&'static Section),
    /// Planned, and refused until it is built; with what to do instead.
    Later(&'static str),
}

pub(super) const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, help }
}

/// A key that is refused by name.
pub(super) const fn later(name: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Later("remove it"),
        help: "Not supported yet.",
    }
}

/// A key that is refused by name, with what to do instead.
pub(super) const fn later_use(name: &'static str, instead: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Later(instead),
        help: "Not supported yet.",
    }
}

/// What a section knows about a key.
#[derive(Debug)]
pub(super) enum Known {
    /// It may be used.
    Yes,
    /// It is refused until it is built.
    Later(&'static str),
    /// It is unknown.
    No,
}

impl Section {
    pub(super) fn knows(&self, name: &str) -> Known {
        match self.keys.iter().find(|key| key.name == name) {
            Some(Key {
                kind: Kind::Later(instead),
                ..
            }) => Known::Later(instead),
            Some(_) => Known::Yes,
            None if name.starts_with("x-") => Known::Yes,
            None => Known::No,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }

    /// What to do about an unknown key.
    pub(super) fn suggestion(&self, name: &str) -> String {
        let habit = self.habits.iter().find(|(word, _)| *word == name);
        if let Some((_, meant)) = habit {
            return (*meant).to_owned();
        }
        if let Some(near) = nearest(name, self.keys.iter().map(|key| key.name)) {
            return format!("did you mean `{near}`?");
        }
        let known: Vec<&str> = self
            .keys
            .iter()
            .filter(|key| !matches!(key.kind, Kind::Later(_)))
            .map(|key| key.name)
            .collect();
        format!("{} has the keys {}", self.title, listed(&known))
    }
}

/// Two words are alike above this.
const LIKE: f64 = 0.84;
/// No longer word is compared.
const MAX_WORD: usize = 64;
/// Words that differ more in length are not compared.
const MAX_DIFFERENCE: usize = 6;
/// As many words are compared; there are about 600 time zones.
const MAX_CANDIDATES: usize = 1000;

/// The word most like another one, if any is like it at all.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let length = word.len();
    let word = plain(word);
    candidates
        .take(MAX_CANDIDATES)
        .filter(|candidate| candidate.len().abs_diff(length) <= MAX_DIFFERENCE)
        .map(|candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// Stands in a habit for the restart policy that was meant.
pub(super) const POLICY: &str = "<policy>";

/// Words as `a`, `b` and `c`.
fn listed(words: &[&str]) -> String {
    joined(words, "and")
}

/// Words as `a`, `b` or `c`.
pub(super) fn either(words: &[&str]) -> String {
    joined(words, "or")
}

fn joined(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {conjunction} {last}", others.join(", ")),
    }
}

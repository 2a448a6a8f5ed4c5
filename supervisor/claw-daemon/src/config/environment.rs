//! What the fleet file is read against: variables, privilege, the local time zone.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

/// The surroundings of a load. Nothing else of the process is looked at, so the same file in the
/// same surroundings is always read alike.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Whether agents may run as other users.
    pub privilege: Privilege,
    /// The zone of schedules that name none.
    pub time_zone: TimeZone,
    /// Whether providers of models are called.
    pub provider_keys: ProviderKeys,
}

/// What becomes of the keys of `llm.providers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProviderKeys {
    /// Providers are called with them.
    #[default]
    Needed,
    /// No provider is called, so the keys are not read and may be missing.
    Unneeded,
}

/// Whether the supervisor may become another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// It runs as root.
    Root,
    /// It runs as somebody.
    Ordinary,
}

impl Environment {
    /// The surroundings of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let privilege = if rustix::process::geteuid().is_root() {
            Privilege::Root
        } else {
            Privilege::Ordinary
        };
        Self {
            variables: Self::variables_of_process(),
            privilege,
            time_zone: TimeZone::system(),
            provider_keys: ProviderKeys::Needed,
        }
    }

    /// The environment variables of this process; those that are not UTF-8 are left out. Without
    /// the time zone, whose data base takes longer to find than a whole `clawctl status`.
    #[must_use]
    pub fn variables_of_process() -> BTreeMap<String, String> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Surroundings with some variables, an ordinary user and UTC; for tests.
    #[must_use]
    pub fn with<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            privilege: Privilege::Ordinary,
            time_zone: TimeZone::UTC,
            provider_keys: ProviderKeys::Needed,
        }
    }
}

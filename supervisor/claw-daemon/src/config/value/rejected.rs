//! Why a value cannot be used.

/// Why a value cannot be used, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(in crate::config) struct Rejected {
    /// The reason; may repeat parts of the value.
    pub(in crate::config) why: String,
    /// What to do; may repeat parts of the value.
    pub(in crate::config) help: Option<String>,
}

impl Rejected {
    pub(in crate::config) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            help: None,
        }
    }

    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

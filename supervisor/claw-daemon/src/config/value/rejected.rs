//! Why a value cannot be used.

/// Why a value cannot be used, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(in crate::config) struct Rejected {
    /// The reason, if there is more to say; may repeat parts of the value.
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

    /// The value is not what it should be, and that says it all.
    pub(in crate::config) fn plainly() -> Self {
        Self::new("")
    }

    pub(in crate::config) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

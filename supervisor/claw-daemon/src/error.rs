//! Why a supervisor does not start.

use std::io;

use crate::config::Diagnostics;
use crate::data_dir::DataDirError;

/// Why a supervisor does not start. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The fleet file cannot be used, and there is no last good one.
    #[error("the fleet file has errors")]
    Config(Diagnostics),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] claw_store::journal::JournalError),
    /// The store of state and events cannot be opened.
    #[error(transparent)]
    Store(#[from] claw_store::store::OpenError),
    /// Agents cannot be given their sockets.
    #[error(transparent)]
    Agents(#[from] crate::agent_api::ConfigureError),
    /// Agents cannot be given models.
    #[error(transparent)]
    Models(#[from] crate::llm::ModelsError),
    /// The key of the agents' tokens cannot be had.
    #[error("cannot read or make the key of the agents' tokens in the data directory")]
    TokenKey {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A listener cannot be bound.
    #[error(transparent)]
    Listen(#[from] crate::http::ListenError),
    /// The process driver cannot work.
    #[error(transparent)]
    Driver(#[from] claw_drivers::process::StartError),
    /// There is no thread for supervision.
    #[error("the thread of supervision cannot be started")]
    Thread {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be listened to.
    #[error("signal handlers cannot be installed")]
    Signals {
        /// Why.
        #[source]
        source: io::Error,
    },
}

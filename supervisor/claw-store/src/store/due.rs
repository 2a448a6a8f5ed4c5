//! What the writer does besides requests.

use super::clock::UnixMs;
use super::core::Core;
use super::error::StoreError;

impl Core {
    /// Everything whose time has come, within the transaction under way.
    pub(super) fn do_what_is_due(&mut self) {
        let done = self.bus_due().and_then(|()| self.state_due());
        if let Err(error) = done {
            self.broken.get_or_insert(error);
        }
    }

    /// When something will be due.
    pub(super) fn next_deadline(&self) -> Option<UnixMs> {
        let state = self.spaces.next_expiry();
        self.bus_deadline().into_iter().chain(state).min()
    }

    /// Writes what memory knows and the file does not.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        self.flush_bus()?;
        self.flush_spaces()
    }
}

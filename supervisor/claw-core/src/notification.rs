//! Placeholder until the parser lands.
/// A parsed notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification;

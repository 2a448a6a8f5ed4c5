//! The `NOTIFY_SOCKET` of a container: a directory of its own on the host, mounted into it.
//!
//! Whoever can send to the socket is in the container, or may write below the supervisor's data
//! directory, so senders are not looked at. What was sent while no supervisor listened is lost.

use std::borrow::Cow;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use claw_core::notification::{Notification, Parsed};
use claw_core::redact::Redactor;
use claw_core::{Fact, InstanceId};
use tokio::net::UnixDatagram;

use super::create::NOTIFY_SOCKET;
use crate::driver::FactSender;

/// The longest notification accepted, as with processes; longer ones are dropped.
const LIMIT: usize = 4096;

/// The socket, not yet listened to.
#[derive(Debug)]
pub(super) struct Notify(std::os::unix::net::UnixDatagram);

impl Notify {
    /// Makes the directory and the socket, or the socket anew: the directory is what is mounted.
    /// Blocks.
    pub(super) fn bind(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        let open = File::open(dir)?;
        // Socket addresses hold 108 bytes, and a data directory may lie deep.
        let path = format!("/proc/self/fd/{}/{NOTIFY_SOCKET}", open.as_raw_fd());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = std::os::unix::net::UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Passes notifications on, for ever.
    pub(super) async fn listen(
        self,
        instance: InstanceId,
        redactor: Option<Redactor>,
        facts: FactSender,
    ) {
        let Ok(socket) = UnixDatagram::from_std(self.0) else {
            return;
        };
        let mut buffer = vec![0; LIMIT + 1];
        loop {
            let length = match socket.recv(&mut buffer).await {
                Ok(length) if length > LIMIT => continue,
                Ok(length) => length,
                Err(error) => {
                    tracing::warn!(%instance, %error, "its notifications cannot be received");
                    return;
                }
            };
            let said = &buffer[..length];
            let said = redactor
                .as_ref()
                .map_or(Cow::Borrowed(said), |redactor| redactor.document(said));
            let Parsed::Message(mut notification, _ignored) = Notification::parse(&said) else {
                continue;
            };
            // A number of the container's own, which means another process here.
            notification.main_pid = None;
            let instance = instance.clone();
            let fact = Fact::Notified {
                instance,
                notification,
            };
            // A supervisor that is ending no longer listens.
            facts.send(fact).await.ok();
        }
    }
}

//! Accepts connections until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::{Caller, Link};
use super::connection;
use super::limits;
use super::listener::{ControlSocket, Listeners, Place, remove_if_there};
use super::router;
use super::state::ApiState;
use crate::descriptors;

/// A server at work.
#[derive(Debug)]
pub struct Running {
    closing: CancellationToken,
    /// Cut what is left when time is up.
    cutting: CancellationToken,
    tasks: TaskTracker,
    socket: PathBuf,
}

/// What the accepting loops share.
#[derive(Clone)]
struct Server {
    app: Router,
    places: Arc<Semaphore>,
    closing: CancellationToken,
    cutting: CancellationToken,
    tasks: TaskTracker,
}

/// Serves the API on all listeners. Must be called within a tokio runtime.
#[must_use]
pub fn serve(listeners: Listeners, state: ApiState) -> Running {
    let server = Server {
        places: Arc::new(Semaphore::new(connections())),
        closing: state.closing.clone(),
        cutting: CancellationToken::new(),
        tasks: TaskTracker::new(),
        app: router::app(state),
    };
    let running = Running {
        closing: server.closing.clone(),
        cutting: server.cutting.clone(),
        tasks: server.tasks.clone(),
        socket: listeners.socket.place.path.clone(),
    };
    let ControlSocket { listener, place } = listeners.socket;
    match UnixListener::from_std(listener) {
        Ok(socket) => drop(
            server
                .tasks
                .spawn(accept_unix((socket, place), server.clone())),
        ),
        Err(error) => tracing::error!(%error, "the control socket cannot be served"),
    }
    match listeners.tcp.map(TcpListener::from_std).transpose() {
        Ok(Some(tcp)) => drop(server.tasks.spawn(accept_tcp(tcp, server.clone()))),
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "the TCP address cannot be served"),
    }
    running
}

impl Running {
    /// Stops: accepts no more, ends streams, gives requests under way a few seconds, cuts the
    /// rest, and removes the control socket.
    pub async fn stop(self) {
        self.closing.cancel();
        if let Err(error) = remove_if_there(&self.socket) {
            tracing::warn!(%error, "the control socket stays behind");
        }
        self.tasks.close();
        if tokio::time::timeout(limits::STOP_TIME, self.tasks.wait())
            .await
            .is_err()
        {
            self.cutting.cancel();
            self.tasks.wait().await;
        }
    }
}

/// As many as are far from all descriptors, so that agents have theirs.
fn connections() -> usize {
    let part = descriptors::most() / limits::PART_OF_DESCRIPTORS;
    usize::try_from(part).map_or(limits::CONNECTIONS, |part| part.min(limits::CONNECTIONS))
}

async fn accept_unix((mut listener, mut place): (UnixListener, Place), server: Server) {
    let mut looks = interval(limits::SOCKET_LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = async {
            tokio::select! {
                accepted = listener.accept() => Some(accepted),
                _ = looks.tick() => None,
            }
        };
        let Some(next) = server.unless_closing(next).await else {
            return;
        };
        let Some(accepted) = next else {
            if !place.is_ours() {
                match back_in_place(&place) {
                    Some(again) => (listener, place) = again,
                    None => place.leave(),
                }
            }
            continue;
        };
        let judged = accepted.and_then(|(stream, _address)| {
            let caller = Caller::of_peer(&stream.peer_cred()?);
            Ok((stream, caller))
        });
        match judged {
            Ok((stream, caller)) => server.take(stream, caller),
            Err(error) => pause(&error).await,
        }
    }
}

/// Puts the control socket where it can be found again. Whoever is connected stays so.
fn back_in_place(place: &Place) -> Option<(UnixListener, Place)> {
    let bound = ControlSocket::bind(&place.path).map_err(|error| error.to_string());
    let bound = bound.and_then(|ControlSocket { listener, place }| {
        let listener = UnixListener::from_std(listener).map_err(|error| error.to_string())?;
        Ok((listener, place))
    });
    match bound {
        Ok(bound) => {
            tracing::warn!("the control socket was removed, and is there again");
            Some(bound)
        }
        Err(error) => {
            tracing::error!(
                error,
                "the control socket was removed, and cannot be made again"
            );
            None
        }
    }
}

async fn accept_tcp(listener: TcpListener, server: Server) {
    while let Some(accepted) = server.unless_closing(listener.accept()).await {
        match accepted {
            Ok((stream, address)) => server.take(stream, Caller::Local { address }),
            Err(error) => pause(&error).await,
        }
    }
}

/// Accepting fails for want of descriptors or memory, and for connections that broke off. All
/// pass; the pause keeps the loop from spinning until then.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
}

impl Server {
    async fn unless_closing<T>(&self, next: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => None,
            next = next => Some(next),
        }
    }

    fn take<S: connection::Stream>(&self, stream: S, caller: Caller) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.tasks.spawn(connection::turn_away(stream));
            return;
        };
        let link = Link::new(caller);
        let app = self.app.clone();
        let (closing, cutting) = (self.closing.clone(), self.cutting.clone());
        self.tasks.spawn(async move {
            let cut = link.cut.clone();
            tokio::select! {
                () = connection::serve(stream, app, link, closing) => {}
                () = cut.cancelled() => {}
                () = cutting.cancelled() => {}
            }
            drop(place);
        });
    }
}

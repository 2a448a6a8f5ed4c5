//! Answers on one agent's socket.

use std::cell::LazyCell;
use std::convert::Infallible;
use std::os::unix::net::UnixListener as StdListener;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use claw_core::{Generation, RunId};
use claw_store::bus::LeaseId;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::admission::{Context, admission};
use super::api::AgentApi;
use super::endpoint::Endpoint;
use super::limits;
use super::models;
use super::peer;
use super::router;
use super::stream::Watched;

/// Who is at the other end of a connection, by the kernel's word.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) pid: Option<u32>,
    /// Which life it was found to belong to, and by which token; asked once a connection.
    pub(super) known: Arc<OnceLock<Known>>,
    /// The work in the last answer, until it is certain that the answer was read.
    pub(super) handed: Arc<Mutex<Option<Handed>>>,
}

/// A life that has shown its token, and whose process is the one at the other end.
pub(super) struct Known {
    pub(super) generation: Generation,
    pub(super) token: String,
}

/// Work on its way to a caller that says no hello, and so cannot say what never arrived.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) generation: Generation,
    pub(super) runs: Vec<RunId>,
    pub(super) leases: Vec<LeaseId>,
}

impl Peer {
    fn take_handed(&self) -> Option<Handed> {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        handed.take()
    }

    /// Notes what the answer that follows carries.
    pub(super) fn hand(&self, work: Handed) {
        let mut handed = self.handed.lock().unwrap_or_else(PoisonError::into_inner);
        *handed = Some(work);
    }
}

impl Peer {
    fn of(stream: &UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let pid = pid.and_then(|pid| u32::try_from(pid).ok());
        Self {
            // A supervisor in a container has no numbers for processes of other containers, and the
            // kernel says 0 for them; the token stands alone then.
            pid: pid.filter(|pid| *pid > 0),
            known: Arc::default(),
            handed: Arc::default(),
        }
    }
}

/// Serves an endpoint's socket as long as it is to be served.
pub(super) fn start(
    api: &AgentApi,
    endpoint: Arc<Endpoint>,
    (listener, until): (StdListener, CancellationToken),
) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(agent = %endpoint.agent, %error, "the agent's socket cannot be served");
            return;
        }
    };
    let accepting = accept(api.clone(), endpoint, listener, until);
    api.shared.tasks.spawn(accepting);
}

async fn accept(
    api: AgentApi,
    endpoint: Arc<Endpoint>,
    listener: UnixListener,
    until: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let strangers = Arc::new(Semaphore::new(limits::STRANGERS));
    // Most programs never connect, and the table of routes is the largest thing that one needs.
    let app = LazyCell::new(|| {
        router::app(Context {
            api: api.clone(),
            endpoint: Arc::clone(&endpoint),
        })
    });
    loop {
        let accepted = tokio::select! {
            biased;
            () = until.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _address)) => stream,
            Err(error) => {
                // For want of descriptors or memory; both pass.
                tracing::warn!(%error, "a connection of an agent could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let peer = Peer::of(&stream);
        // Processes of others are told that they are wrong here, in places of their own: they
        // cannot keep the agent out.
        let (wanted, whose) = match peer.pid {
            Some(pid) if is_stranger(&endpoint, pid) => (&strangers, "strangers have"),
            Some(_) | None => (&places, "the agent has"),
        };
        let Ok(place) = Arc::clone(wanted).try_acquire_owned() else {
            let agent = &endpoint.agent;
            tracing::warn!(target: "audit", %agent, pid = peer.pid, "refused: {whose} too many connections");
            continue;
        };
        let (api, endpoint, app) = (api.clone(), Arc::clone(&endpoint), Router::clone(&app));
        let tasks = api.shared.tasks.clone();
        let context = Context { api, endpoint };
        tasks.spawn(async move {
            serve(context, app, (stream, peer)).await;
            drop(place);
        });
    }
}

/// Whether a process belongs to no life of the agent.
pub(super) fn is_stranger(endpoint: &Endpoint, pid: u32) -> bool {
    let sessions: Vec<_> = (endpoint.lock().sessions.iter())
        .map(|(generation, session)| (endpoint.instance(*generation), session.pid))
        .collect();
    let mut sessions = sessions.iter();
    !sessions.any(|(instance, main)| peer::belongs(pid, instance, *main))
}

async fn serve(context: Context, app: Router, (stream, peer): (UnixStream, Peer)) {
    let served = Arc::new(Served { context, app, peer });
    let Context { api, endpoint } = &served.context;
    let answering = Arc::clone(&served);
    let service =
        service_fn(move |request: http::Request<Incoming>| answer(Arc::clone(&answering), request));
    let (stream, broke) = Watched::new(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE_TIME)
        .max_buf_size(limits::BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = api.shared.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    let lost = ended.is_err() || broke.load(Ordering::Relaxed);
    if lost && let Some(handed) = served.peer.take_handed() {
        super::work::take_back(api, endpoint, handed).await;
    }
    let agent = &endpoint.agent;
    match ended {
        Err(error) if error.is_parse() => {
            tracing::warn!(target: "audit", %agent, "refused: what came is not HTTP: {error}");
            endpoint.series.count_refusal();
        }
        Err(error) => tracing::debug!(%agent, %error, "a connection of an agent ended early"),
        Ok(()) => {}
    }
}

/// What the requests of one connection share.
struct Served {
    context: Context,
    app: Router,
    peer: Peer,
}

async fn answer(
    served: Arc<Served>,
    request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    let Served { context, app, peer } = &*served;
    // Who asks again has read the answer before.
    drop(peer.take_handed());
    if models::is_for_models(request.uri()) {
        return Ok(models::answer(context, peer, request).await);
    }
    let request = request.map(Body::new);
    Ok(admission(context, peer, app, request).await)
}

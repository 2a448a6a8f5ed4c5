//! The server: it hands each request its behaviour and writes the bill.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::behaviour::{Ending, OnHangUp};
use crate::wire::{Answer, Api, Asked, Streams, error, error_event};
use crate::{Behaviour, Seen};

type Body = BoxBody<Bytes, io::Error>;

/// A provider that listens on loopback until it is dropped.
#[derive(Debug)]
pub struct FakeLlm {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    scripts: Mutex<BTreeMap<String, VecDeque<Behaviour>>>,
    seen: watch::Sender<Vec<Seen>>,
    connections: watch::Sender<usize>,
}

impl FakeLlm {
    /// Listens on a port of loopback that the kernel picks.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> io::Result<Self> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Listens on an address.
    ///
    /// # Errors
    /// When it cannot be listened on.
    pub async fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting: accepting.abort_handle(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What to do with the next requests for a model. The last behaviour stays; those that stood
    /// there before are forgotten.
    pub fn script(&self, model: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.script(model, behaviours.into_iter().collect());
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// Waits until the requests are as wanted.
    pub async fn until(&self, wanted: impl FnMut(&Vec<Seen>) -> bool) -> Vec<Seen> {
        let mut seen = self.shared.seen.subscribe();
        match seen.wait_for(wanted).await {
            Ok(seen) => seen.clone(),
            // The sender is ours.
            Err(_gone) => Vec::new(),
        }
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// The bill, at so much for a token of a prompt and of an answer.
    #[must_use]
    pub fn bill(&self, prompt: u64, answer: u64) -> u64 {
        let seen = self.shared.seen.borrow();
        let cost = |seen: &Seen| seen.prompt_tokens * prompt + seen.answer_tokens * answer;
        seen.iter().map(cost).sum()
    }
}

impl Drop for FakeLlm {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn script(&self, model: &str, behaviours: VecDeque<Behaviour>) {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        scripts.insert(model.to_owned(), behaviours);
    }

    fn next(&self, model: &str) -> Behaviour {
        let mut scripts = self.scripts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = scripts.get_mut(model) else {
            return Behaviour::default();
        };
        if queue.len() > 1 {
            return queue.pop_front().unwrap_or_default();
        }
        queue.front().cloned().unwrap_or_default()
    }

    fn note(&self, seen: Seen) -> Line {
        let mut number = 0;
        self.seen.send_modify(|all| {
            number = all.len();
            all.push(seen);
        });
        Line(number)
    }

    fn change(&self, line: Line, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(|all| change(&mut all[line.0]));
    }
}

/// A line of the bill.
#[derive(Clone, Copy)]
struct Line(usize);

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared
            .connections
            .send_modify(|connections| *connections += 1);
        // What a test is not meant to see is the delay of small packets.
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let broken = Arc::new(Notify::new());
            let service = service_fn(|request| answer(&shared, &broken, request));
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that goes away is what many tests are about.
                _end = serving => {}
                () = broken.notified() => {}
            }
        });
    }
}

async fn answer(
    shared: &Arc<Shared>,
    broken: &Notify,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        })
        .collect();
    let Ok(body) = request.into_body().collect().await else {
        return Ok(json_response(400, &json!({"error": "no body"})));
    };
    let body = body.to_bytes();
    match path.as_str() {
        "/_script" => return Ok(scripted(shared, &body)),
        "/_bill" => {
            let seen = shared.seen.borrow();
            let lines: Vec<Value> = seen.iter().map(Seen::as_json).collect();
            return Ok(json_response(200, &json!(lines)));
        }
        "/v1/models" => {
            let models = json!({"object": "list", "data": []});
            return Ok(json_response(200, &models));
        }
        "/v1/moderations" => return Ok(moderated(shared, headers, &body).await),
        _ => {}
    }
    let asked = Api::of_path(&path).and_then(|api| Asked::read(api, &body));
    let Some(asked) = asked else {
        return Ok(json_response(404, &json!({"error": {"message": "what?"}})));
    };
    let line = shared.note(Seen {
        at: Instant::now(),
        path,
        headers,
        body: body.to_vec(),
        model: asked.model.clone(),
        prompt_tokens: 0,
        answer_tokens: 0,
        tokens_sent: 0,
        ended: false,
    });
    let behaviour = shared.next(&asked.model);
    let call = Call {
        shared: Arc::clone(shared),
        line,
        asked,
        behaviour,
    };
    Ok(call.answer(broken).await)
}

/// A request with what is to be done with it. Its line of the bill is closed when it is dropped,
/// also because the client has gone away.
struct Call {
    shared: Arc<Shared>,
    line: Line,
    asked: Asked,
    behaviour: Behaviour,
}

impl Call {
    async fn answer(self, broken: &Notify) -> Response<Body> {
        let refused = self.behaviour.status >= 400;
        let refuses_in_stream =
            self.behaviour.error_event.is_some() && self.asked.streams != Streams::No;
        let bills = !refused && !refuses_in_stream;
        if bills && self.behaviour.ending != Ending::Unanswered {
            self.admit();
        }
        self.behaviour.before_head.wait().await;
        if self.behaviour.ending == Ending::Unanswered {
            broken.notify_one();
            return std::future::pending().await;
        }
        if refused {
            let status = self.behaviour.status;
            return self.with_headers(json_response(status, &error(self.asked.api, status)));
        }
        if self.asked.streams == Streams::No {
            let response = self.with_headers(Response::new(self.whole()));
            return of_kind(response, "application/json");
        }
        let (sender, body) = Channel::new(1);
        let response = self.with_headers(Response::new(body.boxed()));
        tokio::spawn(self.stream(sender));
        of_kind(response, "text/event-stream")
    }

    /// The prompt is billed at once, and a whole answer too: it cannot be cancelled.
    fn admit(&self) {
        let answer = Answer::new(&self.asked, &self.behaviour);
        let whole = self.asked.streams == Streams::No;
        self.shared.change(self.line, |seen| {
            seen.prompt_tokens = answer.prompt;
            if whole {
                seen.answer_tokens = answer.tokens;
            }
        });
    }

    fn whole(&self) -> Body {
        let answer = Answer::new(&self.asked, &self.behaviour);
        let body = match &self.behaviour.raw {
            Some(pieces) => Bytes::from(pieces.concat()),
            None => Bytes::from(answer.body().to_string()),
        };
        self.shared
            .change(self.line, |seen| seen.tokens_sent = seen.answer_tokens);
        let Ending::Cut { .. } = self.behaviour.ending else {
            return Full::new(body).map_err(|never| match never {}).boxed();
        };
        let (mut sender, cut) = Channel::new(1);
        tokio::spawn(async move {
            let half = body.slice(..body.len() / 2);
            // A client that has gone away needs no cut.
            if sender.send_data(half).await.is_ok() {
                cut_off(sender).await;
            }
        });
        cut.boxed()
    }

    async fn stream(self, mut sender: Sender<Bytes, io::Error>) {
        let answer = Answer::new(&self.asked, &self.behaviour);
        self.behaviour.before_first.wait().await;
        if let Some(status) = self.behaviour.error_event {
            // A client that has gone away needs none.
            let _gone = sender.send_data(error_event(self.asked.api, status)).await;
            return;
        }
        if let Some(pieces) = &self.behaviour.raw {
            self.shared
                .change(self.line, |seen| seen.answer_tokens = answer.tokens);
            for piece in pieces {
                self.behaviour.between.wait().await;
                if sender.send_data(Bytes::from(piece.clone())).await.is_err() {
                    return;
                }
            }
            return;
        }
        if sender.send_data(answer.opening()).await.is_err() {
            return;
        }
        for number in 0..answer.tokens {
            if self.behaviour.ending == (Ending::Cut { after: number }) {
                return cut_off(sender).await;
            }
            self.behaviour.between.wait().await;
            self.shared
                .change(self.line, |seen| seen.answer_tokens += 1);
            if sender.send_data(answer.token(number)).await.is_err() {
                return;
            }
            self.shared.change(self.line, |seen| seen.tokens_sent += 1);
        }
        if let Ending::Cut { .. } = self.behaviour.ending {
            return cut_off(sender).await;
        }
        // A client that left before the last event has had every token.
        let _gone = sender.send_data(answer.closing()).await.is_err();
    }

    fn with_headers(&self, mut response: Response<Body>) -> Response<Body> {
        for (name, value) in &self.behaviour.headers {
            let name = header::HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, value.parse()) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let all = Answer::new(&self.asked, &self.behaviour).tokens;
        let bills_all = self.behaviour.hang_up == OnHangUp::BillsAll;
        self.shared.change(self.line, |seen| {
            if bills_all && seen.prompt_tokens > 0 {
                seen.answer_tokens = all;
            }
            seen.ended = true;
        });
    }
}

/// Breaks the connection off once what was sent before has gone out.
async fn cut_off(mut sender: Sender<Bytes, io::Error>) {
    // Each empty piece is taken only after those before it; the server writes what it has when it
    // finds no further one.
    for _ in 0..2 {
        if sender.send_data(Bytes::new()).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    sender.abort(io::Error::other("told to cut"));
}

/// What `/_script` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    model: String,
    behaviours: VecDeque<Behaviour>,
}

fn scripted(shared: &Shared, body: &[u8]) -> Response<Body> {
    match serde_json::from_slice::<Script>(body) {
        Ok(script) => {
            shared.script(&script.model, script.behaviours);
            json_response(200, &json!({}))
        }
        Err(error) => json_response(400, &json!({"error": error.to_string()})),
    }
}

/// Judges texts: those with the word `harm` are flagged for violence. It does as the script of the
/// model `moderation` says, and bills nothing.
async fn moderated(
    shared: &Shared,
    headers: BTreeMap<String, String>,
    body: &[u8],
) -> Response<Body> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let model = "moderation";
    shared.note(Seen {
        at: Instant::now(),
        path: "/v1/moderations".to_owned(),
        headers,
        body: body.to_vec(),
        model: model.to_owned(),
        prompt_tokens: 0,
        answer_tokens: 0,
        tokens_sent: 0,
        ended: true,
    });
    let behaviour = shared.next(model);
    behaviour.before_head.wait().await;
    if behaviour.status >= 400 {
        return json_response(behaviour.status, &json!({"error": {"message": "told to"}}));
    }
    if let Some(pieces) = &behaviour.raw {
        let body = serde_json::from_str(&pieces.concat()).unwrap_or_default();
        return json_response(200, &body);
    }
    let texts = asked["input"].as_array().map_or(&[][..], Vec::as_slice);
    let results = texts.iter().map(|text| {
        let harms = text.as_str().is_some_and(|text| text.contains("harm"));
        json!({"flagged": harms, "categories": {"hate": false, "violence": harms}})
    });
    json_response(200, &json!({"results": results.collect::<Vec<_>>()}))
}

fn json_response(status: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    of_kind(response, "application/json")
}

fn of_kind(mut response: Response<Body>, kind: &'static str) -> Response<Body> {
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

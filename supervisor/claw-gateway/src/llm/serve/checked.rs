//! Answers that are looked at as a whole: they are read to their end, streams too, and pass when
//! they follow their JSON schema and are judged safe.
//!
//! ```text
//!   call, as any other ──► whole answer ──► follows the schema ──► is judged safe ──► agent
//!                            │ does not                              │ is not
//!                            ├─warn──► told, and judged              └──► 400
//!                            ├─block──► 422
//!                            └─repair──► one more call, as any other ──► follows it ──► judged
//!                                                │ does not, or failed
//!                                                └──► 422
//! ```

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, header::HeaderName, response::Parts};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::attempt::is_stream;
use super::body::{AnswerBody, Piece};
use super::call::{ATTEMPTS, Answered, Answering, Call};
use super::chain::Target;
use super::denial::Denial;
use super::drain::MAX_BYTES;
use super::host::{Event, Place};
use super::judge::{Judge, Passed};
use super::said::{self, Kind, Said};
use super::settings::AgentSettings;
use super::whole::COST;
use crate::llm::money::Money;
use crate::llm::validate::json_schema::{
    BadSchema, OnViolation, Schema, SchemaRule, Violation, repair,
};
use crate::llm::wire::{Api, Request};

/// The header of an answer that was asked for again.
pub(super) const REPAIRED: HeaderName = HeaderName::from_static("x-openclaw-repaired");

/// What a whole answer has to stand up to.
pub(super) struct Checks {
    rule: Option<SchemaRule>,
    judge: Option<Judge>,
}

impl Checks {
    /// What the answer to a request has to stand up to; nothing, where it may pass as it comes.
    ///
    /// # Errors
    /// When the request names a schema that cannot be used, and it is to be enforced.
    pub(super) async fn of(
        agent: &AgentSettings,
        request: &Request,
        judge: Option<Judge>,
    ) -> Result<Option<Self>, Denial> {
        if request.api == Api::Embeddings {
            return Ok(None);
        }
        let rule = match (&agent.schema, agent.requested_schema, &request.schema) {
            (Some(rule), _, _) => Some(rule.clone()),
            (None, Some(on_violation), Some(schema)) => Some(SchemaRule {
                schema: compile(schema.clone()).await?,
                on_violation,
            }),
            (None, Some(_), None) | (None, None, _) => None,
        };
        let checks = Self { rule, judge };
        Ok((checks.rule.is_some() || checks.judge.is_some()).then_some(checks))
    }
}

/// Reading a schema takes a thread of its own for a while.
async fn compile(schema: String) -> Result<Schema, Denial> {
    let compiling = tokio::task::spawn_blocking(move || Schema::read(&schema));
    match compiling.await {
        Ok(compiled) => compiled.map_err(Denial::BadSchema),
        Err(error) => {
            tracing::error!(%error, "a schema was not read, so the request is refused");
            Err(Denial::BadSchema(BadSchema::Unread))
        }
    }
}

/// Serves a call whose answer is looked at as a whole.
pub(super) async fn run(mut call: Call, checks: Checks, targets: Vec<Target>) {
    let mut agent = call.answer.take();
    let checking = Checking {
        call,
        checks,
        targets,
    };
    // Who hangs up drops the check, and the call that runs for it sees the same.
    let answered = tokio::select! {
        biased;
        answered = checking.answer() => answered,
        () = agent.hung_up() => return,
    };
    agent.send(answered);
}

struct Checking {
    /// What each call is a copy of.
    call: Call,
    checks: Checks,
    targets: Vec<Target>,
}

/// Whether an answer may be given to another request, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Possible,
    /// It was ended before its time, or nobody judged it.
    Never,
}

/// An answer that came whole.
struct Heard {
    head: Parts,
    bytes: Bytes,
    reuse: Reuse,
}

/// The text of an answer, and how it does not follow the schema.
struct Wrong {
    text: String,
    violations: Vec<Violation>,
}

impl Checking {
    async fn answer(&self) -> Answered {
        let mut heard = self.in_form().await?;
        if let Some(judge) = &self.checks.judge
            && heard.head.status.is_success()
        {
            let said = self.said(&heard);
            let texts = said.into_iter().map(|said| said.text).collect();
            match judge.judge(Place::Answer, texts).await? {
                Passed::Judged => {}
                Passed::Unjudged => heard.reuse = Reuse::Never,
            }
        }
        Ok(heard.into_response())
    }

    /// An answer that follows the schema, where there is one.
    async fn in_form(&self) -> Result<Heard, Denial> {
        let first = self.ask(Arc::clone(&self.call.request), 0).await?;
        let Some(rule) = &self.checks.rule else {
            return Ok(first);
        };
        let Some(wrong) = self.check(rule, &first).await else {
            return Ok(first);
        };
        self.tell(rule.on_violation, &wrong);
        match rule.on_violation {
            OnViolation::Warn => Ok(first),
            OnViolation::Block => Err(wrong.denial()),
            OnViolation::Repair => self.repair(rule, &first, wrong).await,
        }
    }

    /// Asks once more.
    async fn repair(
        &self,
        rule: &SchemaRule,
        first: &Heard,
        wrong: Wrong,
    ) -> Result<Heard, Denial> {
        let request = &self.call.request;
        let body = repair(request, &wrong.text, &wrong.violations);
        let repaired = body.and_then(|body| Request::read(request.api, body.into()).ok());
        let Some(repaired) = repaired else {
            return Err(wrong.denial());
        };
        let mut second = match self.ask(Arc::new(repaired), first.attempts()).await {
            Ok(second) if second.head.status.is_success() => second,
            // What the agent has to know about is its answer.
            Ok(_refused) => return Err(wrong.denial()),
            Err(denial) => {
                tracing::debug!(%denial, "an answer could not be asked for again");
                return Err(wrong.denial());
            }
        };
        if let Some(wrong) = self.check(rule, &second).await {
            self.tell(OnViolation::Block, &wrong);
            return Err(wrong.denial());
        }
        second.add_cost(first);
        let headers = &mut second.head.headers;
        headers.insert(REPAIRED, HeaderValue::from_static("true"));
        Ok(second)
    }

    /// Makes a call, with a reservation and records of its own, and reads all of its answer.
    async fn ask(&self, request: Arc<Request>, attempts: u32) -> Result<Heard, Denial> {
        let (sender, answered) = oneshot::channel();
        let call = Call {
            shared: Arc::clone(&self.call.shared),
            caller: Arc::clone(&self.call.caller),
            agent: Arc::clone(&self.call.agent),
            id: Arc::clone(&self.call.id),
            hash: Sha256::digest(request.body()).into(),
            request,
            headers: self.call.headers.clone(),
            tighter: self.call.tighter,
            router: self.call.router.clone(),
            fleet_timeout: self.call.fleet_timeout,
            answer: Answering::new(sender),
            attempts,
        };
        let running = call.run(self.targets.clone());
        self.call.shared.tasks.spawn(running);
        // The task has panicked; its money is settled as lost.
        let answered = answered.await.map_err(|_gone| Denial::Unrecorded)?;
        Heard::read(answered?).await
    }

    /// What is wrong with an answer. A refusal is not looked at, nor a call of a tool.
    async fn check(&self, rule: &SchemaRule, heard: &Heard) -> Option<Wrong> {
        if !heard.head.status.is_success() {
            return None;
        }
        for said in self.said(heard) {
            if said.kind == Kind::ToolCall {
                continue;
            }
            let schema = rule.schema.clone();
            let checking = tokio::task::spawn_blocking(move || {
                let violations = schema.check(&said.text).err();
                violations.map(|violations| Wrong {
                    text: said.text,
                    violations,
                })
            });
            match checking.await {
                Ok(None) => {}
                Ok(Some(wrong)) => return Some(wrong),
                Err(error) => {
                    tracing::error!(%error, "an answer was not checked, so it does not pass");
                    return Some(Wrong {
                        text: String::new(),
                        violations: Vec::new(),
                    });
                }
            }
        }
        None
    }

    fn said(&self, heard: &Heard) -> Vec<Said> {
        let api = self.call.request.api;
        if is_stream(&heard.head.headers) {
            said::in_stream(api, &heard.bytes)
        } else {
            said::in_body(api, &heard.bytes)
        }
    }

    fn tell(&self, action: OnViolation, wrong: &Wrong) {
        self.call.shared.tell(Event::WrongAnswer {
            caller: &self.call.caller,
            request: &self.call.id,
            action,
            violations: &wrong.violations,
        });
    }
}

impl Wrong {
    fn denial(self) -> Denial {
        Denial::WrongAnswer {
            violations: self.violations,
        }
    }
}

impl Heard {
    async fn read(response: Response<AnswerBody>) -> Result<Self, Denial> {
        let (head, body) = response.into_parts();
        let mut reuse = Reuse::Possible;
        let bytes = match body {
            AnswerBody::Whole(bytes) => bytes.unwrap_or_default(),
            AnswerBody::Once(bytes) => {
                reuse = Reuse::Never;
                bytes.unwrap_or_default()
            }
            AnswerBody::Breaking => return Err(Denial::BrokeOff),
            AnswerBody::Stream(mut pieces) => {
                let mut bytes = BytesMut::new();
                while let Some(piece) = pieces.recv().await {
                    let more = match piece {
                        Piece::More(more) => more,
                        Piece::Cut(last) => {
                            reuse = Reuse::Never;
                            last
                        }
                        Piece::Broken(_) => return Err(Denial::BrokeOff),
                    };
                    if bytes.len() + more.len() > MAX_BYTES {
                        return Err(Denial::BrokeOff);
                    }
                    bytes.extend_from_slice(&more);
                }
                bytes.freeze()
            }
        };
        Ok(Self { head, bytes, reuse })
    }

    fn attempts(&self) -> u32 {
        let attempts = self.head.headers.get(ATTEMPTS);
        let text = attempts.and_then(|attempts| attempts.to_str().ok());
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// The header with the cost tells that of both calls.
    fn add_cost(&mut self, first: &Self) {
        let sum = first.cost().zip(self.cost());
        let sum = sum.map(|(first, second)| first.plus(second));
        let value = sum.and_then(|sum| HeaderValue::from_str(&sum.to_string()).ok());
        if let Some(value) = value {
            self.head.headers.insert(COST, value);
        }
    }

    fn cost(&self) -> Option<Money> {
        let cost = self.head.headers.get(COST)?;
        cost.to_str().ok()?.parse().ok()
    }

    fn into_response(self) -> Response<AnswerBody> {
        let body = match self.reuse {
            Reuse::Possible => AnswerBody::whole(self.bytes),
            Reuse::Never => AnswerBody::Once(Some(self.bytes)),
        };
        Response::from_parts(self.head, body)
    }
}

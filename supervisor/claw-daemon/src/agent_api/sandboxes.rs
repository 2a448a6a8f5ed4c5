//! `POST /v1/sandboxes/{name}/run`: code that an agent has run for it, where it is granted that.

use axum::extract::{Path, State};
use axum::response::Response;
use claw_drivers::container::pool::RunError;
use serde_json::json;

use super::admission::{Context, PlainBody, json as answer};
use super::fault::{Code, Fault};
use super::wire;
use crate::api::{SandboxCommand, SandboxOutcome};

pub(super) async fn run(
    State(context): State<Context>,
    Path(name): Path<String>,
    PlainBody(body): PlainBody,
) -> Result<Response, Fault> {
    if !context.endpoint.worker().may_run_in(&name) {
        return Err(forbidden(&name));
    }
    context.check_not_halted(Code::Refused)?;
    let asked: SandboxCommand = wire::read(&body)?;
    drop(body);
    if asked.image.is_some() {
        return Err(Fault::bad("bad_body", "the sandbox has its own `image`"));
    }
    let command = asked.read().map_err(|why| Fault::bad("bad_body", why))?;
    let sandboxes = &context.api.shared.sandboxes;
    let outcome = sandboxes
        .run(&name, &command)
        .await
        .map_err(|error| refused(&error))?;
    Ok(answer(&SandboxOutcome::from(outcome)))
}

/// The same whether there is such a sandbox or not.
fn forbidden(name: &str) -> Fault {
    let name: String = name.chars().take(80).collect();
    let message = format!(
        "the agent may not run code in `{name}`; see `sandboxes` of the agent in the fleet file"
    );
    Fault::new(Code::Forbidden, message)
}

/// What is refused is not tried again unasked: only the agent knows whether it can wait.
fn refused(error: &RunError) -> Fault {
    let message = error.to_string();
    let reason = match error {
        RunError::Invalid(_) => return Fault::bad("bad_command", message),
        RunError::Ending => return Fault::new(Code::Unavailable, message),
        RunError::NoSuchSandbox(_) => "no_such_sandbox",
        RunError::Busy { .. } => "sandbox_busy",
        RunError::Engine(_) => "engine_unavailable",
        RunError::Unusable(_) => "sandbox_unusable",
    };
    Fault::new(Code::Refused, message).detail(json!({ "reason": reason }))
}

//! Agent Protocol 1: each agent's own socket, and what may be said over it.
//!
//! ```text
//!  supervise ─► AgentApi ─► Endpoint ◄─ admission ◄─ router ◄─ serve ◄─ agent.sock ◄─ agent
//!                           │       hello · control · work · done · state · events · fleet
//!                           └─ Session: what one process was given and has taken
//! ```
//!
//! Who is asking is told by the token and the kernel, never by what is asked. Nothing here decides
//! about lives: what an agent says becomes a fact, and the core judges it.

mod admission;
mod agent_dir;
mod api;
mod assignment;
mod batch;
mod caller;
mod configure;
mod confined;
mod control;
mod declared;
mod done;
mod endpoint;
mod endpoints;
mod events;
mod fault;
mod feedback;
mod fleet;
mod hello;
mod inside;
mod item;
mod lifecycle;
mod limits;
mod maintenance;
mod message;
mod models;
mod monitor;
mod origin;
mod others;
mod outgoing;
mod peer;
mod plain;
mod refusals;
mod router;
mod sandboxes;
mod sdk;
mod series;
mod serve;
mod session;
mod state;
mod stream;
mod token;
mod topics;
mod wire;
mod work;
mod write_rate;

pub use agent_dir::AgentDirError;
pub use configure::ConfigureError;
pub use sdk::SdkError;

pub(crate) use api::{AgentApi, Parts};
pub(crate) use caller::CameBy;
pub(crate) use fault::seconds;
pub(crate) use inside::{DATA_INSIDE, OURS_INSIDE};
pub(crate) use limits::{ADOPT_GRACE, LEASE};
pub(crate) use outgoing::event_id;
pub(crate) use token::{hex, hmac_sha256, same};
pub(crate) use topics::{OURS, inside, outside, refused_name};

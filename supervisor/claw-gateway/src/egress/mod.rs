//! The way out of an agent: a proxy that reaches the hosts its rules name, and nothing else.
//!
//! [`policy`] decides and is pure, as are the readers of what agents send ([`head`],
//! [`client_hello`], [`dns`]); [`EgressProxy`] owns the sockets. An agent is known by the listener
//! it connects to, because that listener stands in a network namespace where nobody else is.
//!
//! What is not stopped: inside of TLS, a host that is allowed may pass requests on to others
//! (domain fronting, encrypted client hellos), and an allowed host that takes uploads takes
//! anything.

mod agent;
mod captured;
pub mod client_hello;
mod decision;
mod dial;
pub mod dns;
mod dns_server;
mod fake_addresses;
pub mod head;
mod limits;
mod meter;
pub mod policy;
mod proxy;
mod proxy_port;
mod resolve;
mod response;
mod tunnel;

pub use agent::Settings;
pub use decision::{CloseCause, Counters, Decision, Entrance, RememberedDenial, Verdict};
pub use fake_addresses::{FAKE_NETWORK, FakeAddresses};
pub use limits::Limits;
pub use proxy::{EgressProxy, Listeners};
pub use resolve::{Addresses, Resolver, SystemResolver};

//! The way out of an agent, over real sockets: what gets through, what does not, and what is said.

mod captured;
mod client_hello;
mod connect;
mod dns;
mod escapes;
mod fuzz;
mod hello;
mod limits;
mod world;

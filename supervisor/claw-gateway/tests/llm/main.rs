//! The way to language models, over real sockets, with a provider that does what it is told.

mod access;
mod budgets;
mod cache;
mod client;
mod crossings;
mod halts;
mod hang_ups;
mod limits;
mod mixed;
mod prices;
mod routes;
mod safety;
mod schemas;
mod sources;
mod streams;
mod usage;
mod validators;
mod world;

//! The fleet as its host sees it: events in, actions out.

mod commands;
mod daemons;
mod engines;
mod halts;
mod health;
mod images;
mod models;
mod oneshots;
mod order;
mod properties;
mod reload;
mod restored;
mod rolls;
mod slots;
mod workers;
mod world;

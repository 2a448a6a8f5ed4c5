//! Black-box tests over the real executable, and the checks of the tree itself.

mod crashes_heavy;
mod dice;
mod fleet;
mod health;
mod restarts;
mod stopping;
mod takeover;
mod tidy;

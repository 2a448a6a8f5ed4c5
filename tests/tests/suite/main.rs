//! Black-box tests over the real executable, and the checks of the tree itself.

mod fleet;
mod stopping;
mod tidy;

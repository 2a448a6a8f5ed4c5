//! Pieces of fleet files.

/// The command of a test agent, as a YAML list.
pub(crate) fn steps(steps: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_test-agent");
    let words: Vec<&str> = std::iter::once(program)
        .chain(steps.iter().copied())
        .collect();
    serde_json::to_string(&words).unwrap()
}

/// An agent that takes these steps, with more keys in flow style: `mode: oneshot, env: {A: b}`.
pub(crate) fn agent(name: &str, taken: &[&str], keys: &str) -> String {
    let more = if keys.is_empty() {
        String::new()
    } else {
        format!(", {keys}")
    };
    format!("  {name}: {{command: {}{more}}}\n", steps(taken))
}

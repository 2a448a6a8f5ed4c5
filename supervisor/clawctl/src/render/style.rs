//! Colours. `anstream` leaves them out where they do not belong (pipes, `NO_COLOR`).

use claw_daemon::api::{RunState, State};
use owo_colors::{OwoColorize, Style};

/// The style of a public state.
#[must_use]
pub(crate) const fn of_state(state: State) -> Style {
    match state {
        State::Running => Style::new().green(),
        State::Initializing | State::Stopping => Style::new().cyan(),
        State::Paused => Style::new().yellow(),
        State::Error => Style::new().red(),
        State::Stopped => Style::new().dimmed(),
    }
}

/// The style of a run's state.
#[must_use]
pub(crate) const fn of_run(state: RunState) -> Style {
    match state {
        RunState::Succeeded => Style::new().green(),
        RunState::Queued | RunState::Running => Style::new().cyan(),
        RunState::Retrying | RunState::Cancelled => Style::new().yellow(),
        RunState::Failed | RunState::Interrupted => Style::new().red(),
    }
}

/// Text in a style.
#[must_use]
pub(crate) fn paint(text: &str, style: Style) -> String {
    text.style(style).to_string()
}

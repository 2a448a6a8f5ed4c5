//! The memory that bodies of requests take, from when they come in until their call is over.
//!
//! Agents choose how many requests they send at once and how long these are. Without a bound over
//! all of them together, those that are allowed one by one would fill the memory of the machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::gateway::lock;

/// The bodies of one agent at once, in bytes: two of the longest, or thousands of usual ones.
const AGENT: usize = 64 * 1024 * 1024;

/// Those of all agents at once, in bytes.
const ALL: usize = 512 * 1024 * 1024;

/// What is held now.
#[derive(Debug, Default)]
pub(super) struct Bodies(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Only agents that hold something.
    agents: BTreeMap<Arc<str>, usize>,
}

/// The memory of one body, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    bodies: Arc<Bodies>,
    agent: Arc<str>,
    bytes: usize,
}

/// There is no memory left for more of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Room {
    /// For a body of which nothing has come yet.
    pub(super) fn of(bodies: &Arc<Bodies>, agent: &Arc<str>) -> Self {
        Self {
            bodies: Arc::clone(bodies),
            agent: Arc::clone(agent),
            bytes: 0,
        }
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// There are not so many; nothing changes then.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Full> {
        let mut held = lock(&self.bodies.0);
        let own = held.agents.get(&self.agent).copied().unwrap_or_default();
        let fits = |held: usize, most: usize| held.checked_add(bytes).filter(|sum| *sum <= most);
        let (all, own) = fits(held.all, ALL).zip(fits(own, AGENT)).ok_or(Full)?;
        held.all = all;
        held.agents.insert(Arc::clone(&self.agent), own);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut held = lock(&self.bodies.0);
        held.all -= self.bytes;
        if let Some(own) = held.agents.get_mut(&self.agent) {
            *own -= self.bytes;
            if *own == 0 {
                held.agents.remove(&self.agent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_for_each_agent_and_for_all_and_give_back_what_they_took() {
        let bodies = Arc::new(Bodies::default());
        let names: Vec<Arc<str>> = (0..=ALL / AGENT).map(|n| format!("a{n}").into()).collect();
        let mut rooms: Vec<Room> = names.iter().map(|name| Room::of(&bodies, name)).collect();
        let mut last = rooms.pop().expect("one too many");
        for room in &mut rooms {
            assert_eq!(room.take(AGENT), Ok(()));
            assert_eq!(room.take(1), Err(Full), "the agent has no more");
        }
        assert_eq!(last.take(1), Err(Full), "nobody has any more");
        rooms.pop();
        assert_eq!(last.take(AGENT), Ok(()));
        assert_eq!(Room::of(&bodies, &names[0]).take(1), Err(Full));
        drop((rooms, last));
        let held = lock(&bodies.0);
        assert_eq!((held.all, held.agents.len()), (0, 0));
    }
}

//! What people ask of an agent, and what they are told.
//!
//! A command changes goal, hold or latch in memory and lets the phase follow. The change is
//! written down before the answer is given.

use std::sync::Arc;

use crate::death::Cause;
use crate::event::{Command, Freeze};
use crate::id::Ticket;
use crate::memory::{Goal, Hold};
use crate::refusal::Refusal;
use crate::spec::AgentSpec;

use super::Agent;
use super::context::Context;
use super::dossier::Place;
use super::machine::Machine;
use super::runs::Request;
use super::waiters::Wish;

impl Agent {
    /// Carries out a command or refuses it.
    pub(crate) fn command(&mut self, cx: &mut Context<'_>, ticket: Ticket, command: Command) {
        let refused = match command {
            Command::Start { .. } => self.start(cx, ticket),
            Command::Stop { .. } => self.stop(cx, ticket),
            Command::Restart { .. } => self.restart(cx, ticket),
            Command::Pause { freeze, .. } => self.pause(cx, ticket, freeze),
            Command::Resume { .. } => self.resume(cx, ticket),
            Command::Halt { halt, .. } => {
                self.halt(cx, ticket, halt);
                Ok(())
            }
            Command::Lift { by, .. } => self.lift(cx, ticket, by),
            Command::Trigger { payload, run, .. } => {
                self.trigger(cx, Request::manual(ticket, payload, run))
            }
            Command::Cancel { run, .. } => match &mut self.machine {
                Machine::Daemon(_) => Err(Refusal::NoSuchRun { run }),
                Machine::Oneshot(oneshot) => oneshot.cancel(&mut self.common, cx, ticket, run),
                Machine::Worker(worker) => worker.cancel(&mut self.common, cx, ticket, run),
            },
        };
        if let Err(refusal) = refused {
            cx.reply(ticket, Err(refusal));
        }
        self.finish(cx);
    }

    /// Takes over another spec without touching what runs.
    pub(crate) fn change_live(&mut self, cx: &mut Context<'_>, spec: &Arc<AgentSpec>) {
        if self.common.spec.mode == spec.mode {
            self.common.take_spec(Arc::clone(spec));
            self.machine.retune(&mut self.common, cx, spec);
        } else {
            // What is changed is a successor that waits for its turn.
            self.common.successor = Some(Arc::clone(spec));
        }
        self.follow(cx);
    }

    /// Takes over another spec; what runs under the old one ends first. What is halted stays as it
    /// is until that is over.
    pub(crate) fn change_by_restart(&mut self, cx: &mut Context<'_>, spec: Arc<AgentSpec>) {
        self.common.place = Place::Member;
        self.common.forgive();
        if self.common.spec.mode == spec.mode {
            self.common.take_spec(spec);
            self.common.successor = None;
        } else {
            self.common.successor = Some(spec);
        }
        self.common.save(cx);
        if !self.is_halted() {
            self.machine
                .restart(&mut self.common, cx, Cause::Reconfigured);
        }
        self.follow(cx);
    }

    /// A spec of the other kind takes over once nothing of the old kind runs.
    pub(super) fn succeed(&mut self, cx: &mut Context<'_>) {
        if self.common.successor.is_none() || self.machine.has_live() {
            return;
        }
        if let Some(spec) = self.common.successor.take() {
            self.machine.dissolve(&mut self.common, cx);
            self.machine = Self::machine(&spec);
            self.common.take_spec(spec);
            self.common.forgive();
            self.common.save(cx);
            self.machine.follow(&mut self.common, cx);
        }
    }

    fn trigger(&mut self, cx: &mut Context<'_>, request: Request) -> Result<(), Refusal> {
        let agent = self.common.name.clone();
        self.common.check_not_halted()?;
        match &mut self.machine {
            Machine::Daemon(_) => Err(Refusal::TakesNoRuns { agent }),
            Machine::Oneshot(oneshot) => oneshot.trigger(&self.common, cx, request),
            Machine::Worker(worker) => worker.trigger(&self.common, cx, request),
        }
    }

    fn start(&mut self, cx: &mut Context<'_>, ticket: Ticket) -> Result<(), Refusal> {
        self.common.check_not_halted()?;
        self.check_not_paused()?;
        let was = self.common.goal_in_force();
        let changes = self.common.memory.goal == Goal::Down
            || self.common.memory.latch.is_some()
            || self.common.memory.next_start.is_some();
        self.common.memory.goal = Goal::Up;
        self.common.stopping.call_off();
        self.common.forgive();
        let record = self.common.promise(cx, changes.into());
        self.wait(cx, ticket, Wish::Start { was }, record);
        self.machine.start_now(&mut self.common, cx);
        Ok(())
    }

    fn stop(&mut self, cx: &mut Context<'_>, ticket: Ticket) -> Result<(), Refusal> {
        let was = self.common.goal_in_force();
        let hold = self.common.memory.hold;
        let changes = self.common.memory.goal == Goal::Up || hold != Hold::None;
        self.common.memory.goal = Goal::Down;
        self.common.memory.hold = Hold::None;
        self.common.memory.next_start = None;
        let record = self.common.promise(cx, changes.into());
        if was == Goal::Up {
            self.common.stopping.begin(cx, record, hold);
        }
        self.wait(cx, ticket, Wish::Stop, record);
        self.machine.follow(&mut self.common, cx);
        Ok(())
    }

    fn restart(&mut self, cx: &mut Context<'_>, ticket: Ticket) -> Result<(), Refusal> {
        self.common.check_not_halted()?;
        self.check_not_paused()?;
        let was = self.common.memory.goal;
        self.common.memory.goal = Goal::Up;
        self.common.stopping.call_off();
        self.common.forgive();
        let record = self.common.promise(cx, (was == Goal::Down).into());
        if record.is_none() {
            self.common.save(cx);
        }
        let after = self.common.memory.last_generation;
        self.wait(cx, ticket, Wish::Restart { after }, record);
        self.machine.restart(&mut self.common, cx, Cause::Asked);
        Ok(())
    }

    fn pause(
        &mut self,
        cx: &mut Context<'_>,
        ticket: Ticket,
        freeze: Freeze,
    ) -> Result<(), Refusal> {
        if self.common.memory.goal == Goal::Down {
            let agent = self.common.name.clone();
            return Err(if self.is_at_rest() {
                Refusal::Stopped { agent }
            } else {
                Refusal::Stopping { agent }
            });
        }
        let hold = match freeze {
            Freeze::No => Hold::Paused,
            Freeze::Yes => Hold::Frozen,
        };
        self.change_hold(cx, ticket, hold);
        Ok(())
    }

    fn resume(&mut self, cx: &mut Context<'_>, ticket: Ticket) -> Result<(), Refusal> {
        self.common.check_not_halted()?;
        if self.common.memory.hold == Hold::None {
            let agent = self.common.name.clone();
            return Err(Refusal::NotPaused { agent });
        }
        self.change_hold(cx, ticket, Hold::None);
        Ok(())
    }

    fn change_hold(&mut self, cx: &mut Context<'_>, ticket: Ticket, hold: Hold) {
        let changes = self.common.memory.hold != hold;
        self.common.memory.hold = hold;
        let record = self.common.promise(cx, changes.into());
        self.wait(cx, ticket, Wish::Hold, record);
        self.machine.follow(&mut self.common, cx);
    }

    fn check_not_paused(&self) -> Result<(), Refusal> {
        match self.common.memory.hold {
            Hold::None => Ok(()),
            Hold::Paused | Hold::Frozen => Err(Refusal::Paused {
                agent: self.common.name.clone(),
            }),
        }
    }
}

//! What becomes of `security.sandbox` and an agent's own `sandbox` together.
//!
//! An agent's value stands in place of the fleet's, and may not be wider than that unless
//! `security.sandbox.allow_override` says so. What the fleet does not write is no bound for sizes
//! and lists; switches are closed until the fleet opens them.

use std::ops::RangeInclusive;

use claw_core::spec::Resources;
use claw_core::spec::container::Exec;
use claw_core::spec::sandbox::{
    Capture, Egress, HostRule, Landlock, OnMissing, Proc, ProcessLimits, Reach, Sandbox, Scratch,
    Sni, SystemCalls, Tracing, Writable,
};

use super::confine::{Mode, Network, Wish, Written};
use super::diagnostic::{Code, Diagnostic};
use super::item::{Fields, Item};
use super::reader::Reader;
use super::tree::Span;
use super::value::{network, uids};

/// How an agent is confined of which nothing is written.
const UNWRITTEN: Mode = Mode::Process;

const TMP_SIZE: u64 = 64 << 20;
const SHM_SIZE: u64 = 16 << 20;
const NOFILE: u64 = 1024;
const TUNNELS: u32 = 64;

/// What `security.sandbox` says.
#[derive(Debug, Clone, Default)]
pub(super) struct FleetSandbox {
    wish: Wish,
    overriding: Overriding,
    /// Users of the host for agents, where the supervisor is root.
    pub(super) uids: Option<RangeInclusive<u32>>,
}

/// Whether agents may write more than the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Overriding {
    #[default]
    Refused,
    Allowed,
}

/// What counts as the fleet's value where it writes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unwritten {
    /// The usual one.
    Closed,
    /// Any.
    Open,
}

/// An agent's wish and the fleet's.
pub(super) struct Wishes<'w> {
    own: &'w Wish,
    fleet: &'w Wish,
    /// What counts for switches.
    switches: Unwritten,
    overriding: Overriding,
}

/// The same value of both.
type Both<'w, T> = (Option<&'w Written<T>>, Option<&'w Written<T>>);

impl<'w> Wishes<'w> {
    /// What a container may reach, beside what the fleet lets it reach.
    pub(super) const fn of_container(own: &'w Wish, fleet: &'w FleetSandbox) -> Self {
        Self {
            own,
            fleet: &fleet.wish,
            switches: Unwritten::Closed,
            overriding: fleet.overriding,
        }
    }

    fn of<T>(&self, value: impl Fn(&'w Wish) -> Option<&'w Written<T>>) -> Both<'w, T> {
        (value(self.own), value(self.fleet))
    }
}

impl FleetSandbox {
    fn mode(&self) -> Mode {
        match &self.wish.mode {
            Some(mode) => mode.value,
            None if self.wish.says_more => Mode::Process,
            None => UNWRITTEN,
        }
    }

    /// What counts for switches that it does not write: it bounds nobody until it asks for
    /// sandboxes itself.
    fn switches(&self) -> Unwritten {
        let says_process = match &self.wish.mode {
            Some(mode) => mode.value == Mode::Process,
            None => self.wish.says_more,
        };
        if says_process {
            Unwritten::Closed
        } else {
            Unwritten::Open
        }
    }
}

impl Reader<'_> {
    /// Reads `security.sandbox`.
    pub(super) fn fleet_sandbox(&mut self, fields: &Fields<'_>) -> FleetSandbox {
        let overriding = fields.get("allow_override");
        let overriding = overriding.and_then(|item| self.boolean(&item));
        let uids = fields.get("uid_range");
        let uids = uids.and_then(|item| self.parsed(&item, "a range of users", uids::range));
        let wish = self.wish(fields);
        self.nothing_beside_network(&wish);
        FleetSandbox {
            wish,
            overriding: match overriding {
                Some(true) => Overriding::Allowed,
                Some(false) | None => Overriding::Refused,
            },
            uids,
        }
    }

    /// How an agent without an image is confined; `None`: not at all.
    pub(super) fn process_sandbox(
        &mut self,
        agent: &Fields<'_>,
        own: Option<&Fields<'_>>,
    ) -> Option<Box<Sandbox>> {
        let fleet = self.fleet_sandbox.clone();
        let own = own.map_or_else(Wish::default, |fields| self.wish(fields));
        self.nothing_beside_network(&own);
        self.wider_mode(&fleet, &own, agent);
        let mode = match &own.mode {
            Some(mode) => mode.value,
            None if own.says_more => Mode::Process,
            None => fleet.mode(),
        };
        match mode {
            Mode::None | Mode::Docker => None,
            Mode::Process => {
                let wishes = Wishes {
                    own: &own,
                    fleet: &fleet.wish,
                    switches: fleet.switches(),
                    overriding: fleet.overriding,
                };
                Some(Box::new(self.narrowed(&wishes)))
            }
        }
    }

    fn wider_mode(&mut self, fleet: &FleetSandbox, own: &Wish, agent: &Fields<'_>) {
        if let Some(mode) = own.mode.as_ref().filter(|mode| mode.value == Mode::Docker) {
            let message = "`mode: docker` is for agents with an `image`";
            let help = "add an `image`, or write `mode: process`";
            self.wrong(mode, message, help);
            return;
        }
        if fleet.overriding == Overriding::Allowed && own.mode.is_some() {
            return;
        }
        let closed = fleet.switches() == Unwritten::Closed;
        match (fleet.mode(), own.mode.as_ref()) {
            (Mode::Process, Some(mode)) if closed && mode.value == Mode::None => {
                self.wider(mode, fleet.wish.mode.as_ref().map(|mode| mode.span));
            }
            (Mode::Docker, _) => {
                let message = "`security.sandbox` has `mode: docker`, and the agent has no `image`";
                let help = "give it an `image`; or write `sandbox: {mode: process}` here, and `allow_override: true` into `security: {sandbox: …}`";
                self.key_error(&agent.item, Code::Conflict, message, help);
            }
            (Mode::Process | Mode::None, _) => {}
        }
    }

    fn narrowed(&mut self, wishes: &Wishes<'_>) -> Sandbox {
        let on_missing = wishes.of(|wish| wish.on_missing.as_ref());
        let seccomp = wishes.of(|wish| wish.seccomp.as_ref());
        let usual_calls = SystemCalls::Listed { also: Vec::new() };
        let landlock = wishes.of(|wish| wish.landlock.as_ref());
        let proc = wishes.of(|wish| wish.proc.as_ref());
        let tracing = wishes.of(|wish| wish.tracing.as_ref());
        let tmp_exec = wishes.of(|wish| wish.tmp_exec.as_ref());
        let readable = wishes.of(|wish| wish.readable.as_ref());
        let directories = wishes.of(|wish| wish.writable.as_ref());
        Sandbox {
            on_missing: self.switch(wishes, on_missing, OnMissing::Refuse, |own, bound| {
                (*own, *bound) == (OnMissing::Degrade, OnMissing::Refuse)
            }),
            readable: self.listed(wishes, readable, |path, bound| path.starts_with(bound)),
            hidden: Vec::new(),
            writable: self.listed(wishes, directories, lies_in),
            tmp: Scratch {
                size: self.size_of(wishes, |wish| wish.tmp_size.as_ref(), TMP_SIZE),
                exec: self.measure(wishes, tmp_exec, Exec::Allowed, |own, bound| {
                    (*own, *bound) == (Exec::Allowed, Exec::Denied)
                }),
            },
            shm: self.size_of(wishes, |wish| wish.shm.as_ref(), SHM_SIZE),
            network: self.reach(wishes),
            seccomp: self.switch(wishes, seccomp, usual_calls, more_calls),
            landlock: self.switch(wishes, landlock, Landlock::BestEffort, |own, bound| {
                version(*own) < version(*bound)
            }),
            proc: self.switch(wishes, proc, Proc::Masked, |own, bound| {
                (*own, *bound) == (Proc::Masked, Proc::Minimal)
            }),
            tracing: self.switch(wishes, tracing, Tracing::Denied, |own, bound| {
                (*own, *bound) == (Tracing::Allowed, Tracing::Denied)
            }),
            limits: ProcessLimits {
                nofile: self.size_of(wishes, |wish| wish.nofile.as_ref(), NOFILE),
                fsize: self.most(wishes, wishes.of(|wish| wish.fsize.as_ref())),
            },
            usual: Resources::default(),
        }
    }

    fn reach(&mut self, wishes: &Wishes<'_>) -> Reach {
        let (own, fleet) = (wishes.own, wishes.fleet);
        let both = wishes.of(|wish| wish.network.as_ref());
        let network = match (&own.network, &own.allowed) {
            (Some(_), _) => self.switch(wishes, both, Network::None, |own, bound| own > bound),
            (None, Some(_)) => Network::None,
            (None, None) => fleet
                .network
                .as_ref()
                .map_or(Network::None, |one| one.value),
        };
        if network == Network::Host {
            return Reach::Host;
        }
        Reach::Listed(self.egress(wishes))
    }

    /// The hosts that an agent reaches.
    pub(super) fn egress(&mut self, wishes: &Wishes<'_>) -> Egress {
        let (own, fleet) = (wishes.own, wishes.fleet);
        let hosts =
            |one: &HostRule, bound: &HostRule| network::covers(&bound.pattern, &one.pattern);
        let closed_by = fleet
            .network
            .as_ref()
            .filter(|network| network.value == Network::None)
            .map(|network| Written {
                value: Vec::new(),
                span: network.span,
                path: network.path.clone(),
            });
        let allowed = match (&own.network, &own.allowed) {
            (Some(_), _) => Vec::new(),
            (None, own) => {
                let bound = fleet.allowed.as_ref().or(closed_by.as_ref());
                self.listed(wishes, (own.as_ref(), bound), hosts)
            }
        };
        let closed = allowed.is_empty() && (says_hosts(own) || says_hosts(fleet));
        let blocked = [&fleet.blocked, &own.blocked].into_iter().flatten();
        let blocked = blocked.flat_map(|rules| rules.value.iter().map(|rule| rule.value.clone()));
        let private = wishes.of(|wish| wish.private.as_ref());
        let capture = wishes.of(|wish| wish.capture.as_ref());
        let sni = wishes.of(|wish| wish.sni.as_ref());
        let tunnels = wishes.of(|wish| wish.max_tunnels.as_ref());
        Egress {
            allowed,
            blocked: blocked.collect(),
            private_networks: self.listed(wishes, private, |one, bound| {
                network::contains(&bound.pattern, &one.pattern)
            }),
            capture: if closed {
                Capture::Nothing
            } else {
                self.measure(wishes, capture, Capture::Transparent, |own, bound| {
                    (*own, *bound) == (Capture::Transparent, Capture::ProxyOnly)
                })
            },
            sni: self.switch(wishes, sni, Sni::Required, |own, bound| {
                (*own, *bound) == (Sni::Optional, Sni::Required)
            }),
            max_tunnels: self.measure(wishes, tunnels, TUNNELS, |own, bound| own > bound),
            per_minute: None,
            max_bytes: self.most(wishes, wishes.of(|wish| wish.max_bytes.as_ref())),
        }
    }

    /// What is said about hosts has no effect where all of them are reached, or none.
    fn nothing_beside_network(&mut self, wish: &Wish) {
        if let Some(network) = &wish.network {
            let shown = match network.value {
                Network::None => "none",
                Network::Host => "host",
            };
            self.lists_beside(wish, shown, network.span);
        }
    }

    /// Refuses lists of hosts beside a `network` that says what is reached.
    pub(super) fn lists_beside(&mut self, wish: &Wish, network: &str, place: Span) {
        let lists = [&wish.allowed, &wish.blocked, &wish.private];
        for list in lists.into_iter().flatten() {
            // An empty list says the same as `network: none`.
            if network == "none" && list.value.is_empty() {
                continue;
            }
            let key = list.path.rsplit('.').next().unwrap_or_default();
            let message = format!("`{key}` has no effect beside `network: {network}`");
            let help = "keep one of them; hosts are reached through `allowed_network` alone";
            self.problems.push(
                Diagnostic::error(Code::Conflict, message)
                    .at(list.span)
                    .related(place, "the other one")
                    .path(list.path.clone())
                    .help(help),
            );
        }
    }

    /// All hosts are more than the fleet's list of them.
    pub(super) fn bridge_beside_fleet(&mut self, fleet: &FleetSandbox, item: &Item<'_>) {
        if let (Some(bound), Overriding::Refused) = (&fleet.wish.allowed, fleet.overriding) {
            self.wider(&Written::at(item, ()), Some(bound.span));
        }
    }

    /// A value that is closed where the fleet does not open it.
    fn switch<T: Clone>(
        &mut self,
        wishes: &Wishes<'_>,
        both: Both<'_, T>,
        usual: T,
        is_wider: impl Fn(&T, &T) -> bool,
    ) -> T {
        self.chosen(wishes, both, (usual, wishes.switches), is_wider)
    }

    /// A value that is bounded where the fleet writes one.
    fn measure<T: Clone>(
        &mut self,
        wishes: &Wishes<'_>,
        both: Both<'_, T>,
        usual: T,
        is_wider: impl Fn(&T, &T) -> bool,
    ) -> T {
        self.chosen(wishes, both, (usual, Unwritten::Open), is_wider)
    }

    fn chosen<T: Clone>(
        &mut self,
        wishes: &Wishes<'_>,
        (own, fleet): Both<'_, T>,
        (usual, unwritten): (T, Unwritten),
        is_wider: impl Fn(&T, &T) -> bool,
    ) -> T {
        let Some(own) = own else {
            return fleet.map_or(usual, |fleet| fleet.value.clone());
        };
        let bound = match unwritten {
            Unwritten::Closed => Some(fleet.map_or(&usual, |fleet| &fleet.value)),
            Unwritten::Open => fleet.map(|fleet| &fleet.value),
        };
        let refused = wishes.overriding == Overriding::Refused;
        if bound.is_some_and(|bound| refused && is_wider(&own.value, bound)) {
            self.wider(own, fleet.map(|fleet| fleet.span));
        }
        own.value.clone()
    }

    fn size_of<'w>(
        &mut self,
        wishes: &Wishes<'w>,
        value: impl Fn(&'w Wish) -> Option<&'w Written<u64>>,
        usual: u64,
    ) -> u64 {
        self.measure(wishes, wishes.of(value), usual, |own, bound| own > bound)
    }

    /// A limit that there need not be.
    fn most(&mut self, wishes: &Wishes<'_>, both: Both<'_, u64>) -> Option<u64> {
        let written = both.0.or(both.1)?;
        Some(self.measure(wishes, both, written.value, |own, bound| own > bound))
    }

    /// The agent's list, each line of which lies in one of the fleet's, or the fleet's.
    fn listed<T: Clone>(
        &mut self,
        wishes: &Wishes<'_>,
        (own, fleet): Both<'_, Vec<Written<T>>>,
        lies_in: impl Fn(&T, &T) -> bool,
    ) -> Vec<T> {
        if let (Some(own), Some(fleet), Overriding::Refused) = (own, fleet, wishes.overriding) {
            for one in &own.value {
                let mut bounds = fleet.value.iter();
                if !bounds.any(|bound| lies_in(&one.value, &bound.value)) {
                    self.wider(one, Some(fleet.span));
                }
            }
        }
        let lines = own.or(fleet).map(|list| list.value.as_slice());
        let lines = lines.unwrap_or_default().iter();
        lines.map(|line| line.value.clone()).collect()
    }

    fn wider<T>(&mut self, own: &Written<T>, bound: Option<Span>) {
        let message = format!("`{}` is more than `security.sandbox` allows", own.path);
        let help = "narrow it, or write `allow_override: true` into `security: {sandbox: …}`";
        let problem = Diagnostic::error(Code::Conflict, message)
            .at(own.span)
            .path(own.path.clone())
            .help(help);
        self.problems.push(match bound {
            Some(bound) => problem.related(bound, "what it allows"),
            None => problem,
        });
    }

    fn wrong<T>(&mut self, written: &Written<T>, message: &str, help: &str) {
        self.problems.push(
            Diagnostic::error(Code::Conflict, message)
                .at(written.span)
                .path(written.path.clone())
                .help(help),
        );
    }
}

/// Whether it is said on purpose that no host is reached, unless a list follows.
fn says_hosts(wish: &Wish) -> bool {
    wish.network.is_some() || wish.allowed.is_some()
}

fn lies_in(own: &Writable, bound: &Writable) -> bool {
    let size = match (own.size, bound.size) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(own), Some(bound)) => own <= bound,
    };
    let exec = own.exec == Exec::Denied || bound.exec == Exec::Allowed;
    own.path.starts_with(&bound.path) && size && exec
}

fn more_calls(own: &SystemCalls, bound: &SystemCalls) -> bool {
    match (own, bound) {
        (_, SystemCalls::Any)
        | (SystemCalls::Learn, SystemCalls::Learn)
        | (SystemCalls::Listed { .. }, SystemCalls::Learn) => false,
        (SystemCalls::Listed { also: own }, SystemCalls::Listed { also: bound }) => {
            own.iter().any(|name| !bound.contains(name))
        }
        (SystemCalls::Any | SystemCalls::Learn, _) => true,
    }
}

const fn version(landlock: Landlock) -> u32 {
    match landlock {
        Landlock::BestEffort => 0,
        Landlock::Require(version) => version,
    }
}

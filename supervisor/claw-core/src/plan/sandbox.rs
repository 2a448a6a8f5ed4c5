//! The fields of the sandbox of a process. Its walls are built with the process; which hosts it
//! reaches is decided anew with each connection.

use super::ReloadClass::{Live, Restart as Replace};
use super::fields::Fields;
use super::render::{bytes, list, text, word};
use crate::spec::container::Exec;
use crate::spec::sandbox::{
    Egress, HostRule, Landlock, ProcessLimits, Reach, Sandbox, Scratch, SystemCalls, Writable,
};

impl Fields {
    pub(super) fn sandbox(&mut self, sandbox: Option<&Sandbox>) {
        let Some(sandbox) = sandbox else {
            return;
        };
        let Sandbox {
            on_missing,
            readable,
            hidden,
            writable: directories,
            tmp,
            shm,
            network,
            seccomp,
            landlock,
            proc,
            tracing,
            limits: ProcessLimits { nofile, fsize },
            usual,
        } = sandbox;
        self.set("sandbox.mode", Replace, "process".to_owned());
        self.set("sandbox.on_missing", Replace, word(on_missing));
        let readable = list(readable, |path| text(&path.to_string_lossy()));
        self.set("sandbox.readable", Replace, readable);
        let hidden = list(hidden, |path| text(&path.to_string_lossy()));
        self.set("sandbox.hidden", Replace, hidden);
        self.set("sandbox.writable", Replace, list(directories, writable));
        let Scratch { size, exec } = tmp;
        let tmp = text(&format!("{}, {}", bytes(*size), executable(*exec)));
        self.set("sandbox.tmp", Replace, tmp);
        self.set("sandbox.shm", Replace, bytes(*shm));
        self.reach(network);
        let seccomp = match seccomp {
            SystemCalls::Listed { also } if also.is_empty() => "default".to_owned(),
            SystemCalls::Listed { also } => list(also, |name| text(name)),
            SystemCalls::Learn => "learn".to_owned(),
            SystemCalls::Any => "\"off\"".to_owned(),
        };
        self.set("sandbox.seccomp", Replace, seccomp);
        let landlock = match landlock {
            Landlock::BestEffort => "best_effort".to_owned(),
            Landlock::Require(version) => format!("{{require: {version}}}"),
        };
        self.set("sandbox.landlock", Replace, landlock);
        self.set("sandbox.proc", Replace, word(proc));
        self.set("sandbox.debug.ptrace", Replace, word(tracing));
        self.set("sandbox.limits.nofile", Replace, nofile.to_string());
        self.set_some("sandbox.limits.fsize", Replace, fsize.map(bytes));
        // They stand in the place of what is not written there.
        self.resources(usual);
    }

    fn reach(&mut self, network: &Reach) {
        match network {
            Reach::Host => self.set("sandbox.network", Replace, "host".to_owned()),
            Reach::Listed(egress) => self.egress(egress),
        }
    }

    pub(super) fn egress(&mut self, egress: &Egress) {
        let Egress {
            allowed,
            blocked,
            private_networks,
            capture,
            sni,
            max_tunnels,
            per_minute,
            max_bytes,
        } = egress;
        let rules = |rules: &[HostRule]| list(rules, |rule| text(&rule.pattern));
        self.set("sandbox.allowed_network", Live, rules(allowed));
        self.set("sandbox.blocked_network", Live, rules(blocked));
        let private = rules(private_networks);
        self.set("sandbox.private_networks", Live, private);
        self.set("sandbox.proxy.transparent", Replace, word(capture));
        self.set("sandbox.proxy.require_sni", Live, word(sni));
        let most = max_tunnels.to_string();
        self.set("sandbox.proxy.max_tunnels", Live, most);
        let most = per_minute.map(|most| most.to_string());
        self.set_some("resources.api_calls_per_minute", Live, most);
        self.set_some("sandbox.proxy.max_bytes", Live, max_bytes.map(bytes));
    }
}

fn writable(directory: &Writable) -> String {
    let Writable { path, size, exec } = directory;
    let size = size.map_or_else(String::new, |size| format!("{}, ", bytes(size)));
    let exec = executable(*exec);
    text(&format!("{} ({size}{exec})", path.display()))
}

const fn executable(exec: Exec) -> &'static str {
    match exec {
        Exec::Allowed => "exec",
        Exec::Denied => "noexec",
    }
}

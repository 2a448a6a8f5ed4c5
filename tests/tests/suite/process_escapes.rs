//! What an agent that is a process may try to get out of its sandbox, from inside a real one.

use crate::escapes::{Bait, Place, judge};
use crate::fleet::Fleet;

/// The user that supervisors of an ordinary user run as.
const NOBODY: u32 = 65534;

fn agents(bait: &Bait, fleet: &Fleet, limits: &str) -> String {
    let argument = bait.script(fleet);
    format!(
        "  boxed: {{mode: oneshot{limits}, \
             command: [/usr/bin/python3, attempts/escapes.py, {argument}], \
             sandbox: {{mode: process, tmp: {{size: 64Mi}}, readable: [attempts], \
             allowed_network: [\"localhost:{}\"]}}}}\n",
        bait.port(),
    )
}

fn tried(fleet: &Fleet) -> String {
    fleet.await_output("boxed", "done");
    fleet.output("boxed")
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP no_attempt_leads_out_of_a_sandbox_of_root: not root");
        return;
    }
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    let limits = ", resources: {pids: 32, memory: 256Mi}";
    fleet.write("", &agents(&bait, &fleet, limits));
    fleet.up();
    let output = tried(&fleet);
    judge(
        "no_attempt_leads_out_of_a_sandbox_of_root",
        Place::Full,
        &output,
        &[],
    );
    fleet.down();
}

#[test]
fn no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user() {
    let name = "no_attempt_leads_out_of_a_sandbox_of_an_ordinary_user";
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    fleet.write("", &agents(&bait, &fleet, ""));
    if rustix::process::geteuid().is_root() {
        fleet.set_user(NOBODY, NOBODY);
    }
    fleet.up();
    let output = tried(&fleet);
    // Without cgroups of its own an ordinary user can limit nobody's number of processes.
    judge(name, Place::Full, &output, &["row 25 fork bomb"]);
    fleet.down();
}

//! What an agent in a container may try to get out of it, from inside a real one.

use crate::escapes::{Bait, Place, judge};
use crate::fleet::{Engine, Fleet, IMAGE};

/// What the seccomp profile of an older engine lets through, as the manual says; it is not checked
/// there.
const ENGINES_OWN: [&str; 2] = ["row 22 AF_VSOCK", "row 31 io_uring_setup"];

#[test]
fn no_attempt_leads_out_of_a_container() {
    let Some(engine) = Engine::find("no_attempt_leads_out_of_a_container") else {
        return;
    };
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("SKIP no_attempt_leads_out_of_a_container: there is no /usr/bin/python3");
        return;
    }
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    let argument = bait.script(&fleet);
    let agents = format!(
        "  boxed: {{image: \"{IMAGE}\", mode: oneshot, sandbox: {{mode: docker}}, resources: {{pids: 32}}, \
             command: [/usr/bin/python3, /attempts/escapes.py, {argument}], \
             volumes: [\"/usr:/usr:ro\", \"/usr/lib:/lib:ro\", \"/usr/lib64:/lib64:ro\", \"./attempts:/attempts:ro\"]}}\n"
    );
    fleet.write(&format!("engine: \"{}\"", engine.address), &agents);
    fleet.up();
    fleet.await_output("boxed", "done");
    let output = fleet.output("boxed");
    judge(
        "no_attempt_leads_out_of_a_container",
        Place::Container,
        &output,
        &ENGINES_OWN,
    );
    fleet.down();
}

//! What an agent in a container may try to get out of it, from inside a real one.

use crate::escapes::{Bait, OPEN_NETWORK, Place, build_calls, judge};
use crate::fleet::{Engine, Fleet, IMAGE};

/// What the seccomp profile of an older engine lets through, as the manual says; it is not checked
/// there.
const ENGINES_OWN: [&str; 2] = ["row 22 AF_VSOCK", "row 31 io_uring_setup"];

#[test]
fn no_attempt_leads_out_of_a_container() {
    let Some(engine) = Engine::find("no_attempt_leads_out_of_a_container") else {
        return;
    };
    let test = "no_attempt_leads_out_of_a_container";
    let bait = Bait::lay();
    let mut fleet = Fleet::new("");
    let Some(place) = Place::Container.prepare(test, &mut fleet, &bait) else {
        return;
    };
    let calls = build_calls(test, &fleet);
    let mut excused = ENGINES_OWN.to_vec();
    if calls.is_none() {
        excused.push(" static ");
    }
    let supervisor = format!("engine: \"{}\"", engine.address);
    let neighbour = bait.neighbour(", allowed_network: [neighbours.test]");
    fleet.write(&supervisor, &neighbour);
    fleet.up();
    let inside = calls.map(|_| std::path::Path::new("/attempts/calls"));
    let argument = bait.argument(place, (&fleet, fleet.pid()), inside);
    let listed = bait.listed();
    let boxed = format!(
        "  boxed: {{image: \"{IMAGE}\", mode: oneshot, resources: {{pids: 32}}, \
             sandbox: {{mode: docker, private_networks: [{OPEN_NETWORK}], allowed_network: [{listed}]}}, \
             command: [/usr/bin/python3, /attempts/escapes.py, {argument}], \
             volumes: [\"/usr:/usr:ro\", \"/usr/lib:/lib:ro\", \"/usr/lib64:/lib64:ro\", \"./attempts:/attempts:ro\"]}}\n"
    );
    fleet.write(&supervisor, &format!("{neighbour}{boxed}"));
    fleet.run(&["apply"]).ok();
    fleet.await_output("boxed", "done");
    judge(test, place, &fleet.output("boxed"), &excused);
    fleet.down();
}

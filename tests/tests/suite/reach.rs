//! What agents reach: the hosts of their list, through the supervisor, whether they are processes
//! or containers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use crate::fleet::{Engine, Fleet, IMAGE, until};

/// Asks for a page of a listed host through the proxy for each line of standard input it would
/// have: two times a second, and prints the status when it changes.
const ASKING: &str = r#"
import socket, sys, time
port, last = sys.argv[1], None
while True:
    try:
        with socket.create_connection(("127.0.0.1", 3128), 5) as proxy:
            host = f"localhost:{port}"
            proxy.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            said = proxy.recv(400).decode(errors="replace").split(" ")[1]
    except (OSError, IndexError) as error:
        said = repr(error)
    if said != last:
        print("asked", said, flush=True)
        last = said
    time.sleep(0.1)
"#;

/// A web server of the host, which says yes to everything; its port.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            // Whoever asked may be gone.
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    port
}

/// Writes a fleet of one agent that may reach these hosts.
fn write(fleet: &Fleet, (supervisor, keys): (&str, &str), hosts: &str) {
    let mode = if keys.starts_with("image") {
        "docker"
    } else {
        "process"
    };
    let agents = format!(
        "  asking: {{{keys}, sandbox: {{mode: {mode}, allowed_network: [{hosts}], private_networks: [127.0.0.0/8]}}, \
         graceful_shutdown: {{timeout: 1s}}}}\n"
    );
    fleet.write(supervisor, &agents);
}

fn await_said(fleet: &Fleet, count: usize, said: &str) {
    let what = format!("the agent is answered {said}");
    until(&what, || {
        let output = fleet.output("asking");
        let asked: Vec<&str> = output
            .lines()
            .filter(|line| line.starts_with("asked "))
            .collect();
        (asked.len() >= count && asked.last() == Some(&&*format!("asked {said}"))).then_some(())
    });
}

/// The whole course: a list, a shorter one, a supervisor that dies, a longer one again.
fn course(fleet: &mut Fleet, supervisor: &str, keys: &str, port: u16) {
    let listed = format!("\"localhost:{port}\"");
    write(fleet, (supervisor, keys), &listed);
    fleet.up();
    await_said(fleet, 1, "200");

    write(fleet, (supervisor, keys), "other.example");
    fleet.run(&["apply"]).ok();
    await_said(fleet, 2, "403");
    let blocked = fleet.run(&["sandbox", "why-blocked", "asking"]).ok();
    let line = format!("localhost:{port}");
    assert!(blocked.contains(&line), "{blocked}");
    assert!(blocked.contains("agents.asking.sandbox"), "{blocked}");

    let before = fleet.await_main("asking").pid;
    fleet.kill();
    write(fleet, (supervisor, keys), &listed);
    fleet.up();
    await_said(fleet, 3, "200");
    assert_eq!(fleet.await_main("asking").pid, before, "it was taken over");

    let (status, page) = fleet.api().ask("/metrics").unwrap();
    assert_eq!(status, 200);
    let allowed = "openclaw_egress_requests_total{agent=\"asking\",verdict=\"allowed\"}";
    assert!(page.contains(allowed), "{page}");
    let record = fleet.data().join("agents/asking/egress.jsonl");
    let record = std::fs::read_to_string(record).unwrap();
    assert!(record.contains("\"verdict\":\"denied\""), "{record}");
    fleet.down();
}

fn script(fleet: &Fleet) {
    std::fs::create_dir(fleet.path("scripts")).unwrap();
    std::fs::write(fleet.path("scripts/asking.py"), ASKING).unwrap();
}

#[test]
fn a_process_reaches_its_list_through_reloads_and_deaths_of_the_supervisor() {
    let mut fleet = Fleet::new("");
    if !fleet.confines("a_process_reaches_its_list_through_reloads_and_deaths_of_the_supervisor") {
        return;
    }
    let port = serve();
    script(&fleet);
    let keys = format!("command: [python3, scripts/asking.py, \"{port}\"]");
    course(&mut fleet, "", &keys, port);
}

#[test]
fn a_container_reaches_its_list_through_reloads_and_deaths_of_the_supervisor() {
    let name = "a_container_reaches_its_list_through_reloads_and_deaths_of_the_supervisor";
    let Some(engine) = Engine::find(name) else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP {name}: only root enters the network of a container");
        return;
    }
    let port = serve();
    let mut fleet = Fleet::new("");
    script(&fleet);
    let keys = format!(
        "image: \"{IMAGE}\", resources: {{api_calls_per_minute: 100000}}, command: [/usr/bin/python3, /scripts/asking.py, \"{port}\"], \
         volumes: [\"/usr:/usr:ro\", \"/usr/lib:/lib:ro\", \"/usr/lib64:/lib64:ro\", \"./scripts:/scripts:ro\"]"
    );
    let supervisor = format!("engine: \"{}\"", engine.address);
    course(&mut fleet, &supervisor, &keys, port);
}

/// Nothing is written of a sandbox, and the agent wants to call somebody.
#[test]
fn an_agent_of_which_nothing_is_written_is_told_what_would_let_it_out() {
    let port = serve();
    let mut fleet = Fleet::new("");
    script(&fleet);
    let written = |sandbox: &str| {
        fleet.write_raw(&format!(
            "project: test\nversion: \"1.0\"\nsupervisor: {{listen: \"off\"}}\n\
             defaults: {{env: {{{}}}}}\n\
             agents:\n  asking: {{command: [python3, scripts/asking.py, \"{port}\"]{sandbox}}}\n",
            fleet.mark()
        ));
    };
    written("");
    fleet.up();
    await_said(&fleet, 1, "403");
    let line = format!("add `- localhost:{port}` below `agents.asking.sandbox.allowed_network`");
    for command in [
        &["sandbox", "why-blocked", "asking"][..],
        &["why", "asking"],
    ] {
        let said = fleet.run(command).ok();
        assert!(said.contains(&line), "{said}");
    }
    let status = fleet.run(&["status", "asking"]).ok();
    let blocked = format!("Blocked: localhost:{port}, ");
    assert!(status.contains(&blocked), "{status}");
    assert!(
        status.contains("`clawctl sandbox why-blocked asking`"),
        "{status}"
    );
    until("the supervisor has said so", || {
        fleet.said().contains("was not let out").then_some(())
    });

    let before = fleet.await_main("asking").pid;
    fleet.write_raw(&fs::read_to_string(fleet.file()).unwrap().replace(
        "\"]}",
        &format!("\"], sandbox: {{allowed_network: [\"localhost:{port}\"], private_networks: [127.0.0.0/8]}}}}"),
    ));
    fleet.run(&["apply"]).ok();
    await_said(&fleet, 2, "200");
    assert_eq!(
        fleet.await_main("asking").pid,
        before,
        "it was not restarted"
    );
    // The agent has asked many times, and it was said once.
    assert_eq!(fleet.said().matches("was not let out").count(), 1);
    fleet.down();
}

/// Looks a listed name up, and goes by the proxy.
const RESOLVING: &str = r#"
import socket
try:
    socket.getaddrinfo("api.example.com", 443)
except socket.gaierror as error:
    print("resolved", error.errno == socket.EAI_NONAME, flush=True)
"#;

#[test]
fn without_capture_a_process_finds_its_hosts_through_the_proxy_alone() {
    let port = serve();
    let mut fleet = Fleet::new("");
    script(&fleet);
    let program = format!("{RESOLVING}\n{ASKING}");
    fs::write(fleet.path("scripts/asking.py"), program).unwrap();
    let agent = format!(
        "  asking: {{command: [python3, scripts/asking.py, \"{port}\"], sandbox: {{mode: process, \
         allowed_network: [\"localhost:{port}\", api.example.com], private_networks: [127.0.0.0/8], \
         proxy: {{transparent: false}}}}}}\n"
    );
    fleet.write("", &agent);
    fleet.up();
    await_said(&fleet, 1, "200");
    let output = fleet.output("asking");
    assert!(output.starts_with("resolved True\n"), "{output}");
    let blocked = fleet.run(&["sandbox", "why-blocked", "asking"]).ok();
    let way = "have the program use `$HTTPS_PROXY`, or set `agents.asking.sandbox.proxy.transparent` to `true`";
    assert!(blocked.contains(way), "{blocked}");
    fleet.down();
}

#[test]
fn a_process_whose_way_out_is_halted_goes_on_and_reaches_nobody_until_it_is_let_go() {
    let mut fleet = Fleet::new("");
    let name = "a_process_whose_way_out_is_halted_goes_on_and_reaches_nobody_until_it_is_let_go";
    if !fleet.confines(name) {
        return;
    }
    let port = serve();
    script(&fleet);
    let keys = format!("command: [python3, scripts/asking.py, \"{port}\"]");
    write(&fleet, ("", &keys), &format!("\"localhost:{port}\""));
    fleet.up();
    await_said(&fleet, 1, "200");
    let before = fleet.await_main("asking").pid;
    let halted = fleet.run(&["halt", "asking", "--level", "egress"]);
    assert_eq!(halted.err, "", "all of it could be cut");
    halted.ok();
    await_said(&fleet, 2, "403");
    let blocked = fleet.run(&["sandbox", "why-blocked", "asking"]).ok();
    assert!(blocked.contains("its agent is halted: egress"), "{blocked}");
    assert!(
        blocked.contains("clawctl resume --halt asking"),
        "{blocked}"
    );

    fleet.crash_and_up();
    until("the next supervisor has refused it as well", || {
        let blocked = fleet.run(&["sandbox", "why-blocked", "asking"]).ok();
        blocked.contains("its agent is halted").then_some(())
    });
    let (_, page) = fleet.api().ask("/metrics").unwrap();
    let none = "openclaw_egress_requests_total{agent=\"asking\",verdict=\"allowed\"} 0";
    assert!(page.contains(none), "{page}");
    let lift = ["resume", "asking", "--halt", "--yes"];
    assert!(fleet.run(&lift).ok().contains("not halted any more"));
    await_said(&fleet, 3, "200");
    assert_eq!(fleet.await_main("asking").pid, before, "it went on");
    fleet.down();
}

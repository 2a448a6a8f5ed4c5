use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn lines(key: &str, texts: &[&str]) -> Vec<Line> {
    let line = |(at, text): (usize, &&str)| Line {
        source: Source::new(&format!("{key}[{at}]")),
        text: (*text).to_owned(),
    };
    texts.iter().enumerate().map(line).collect()
}

fn rules(allowed: &[&str], blocked: &[&str], private: &[&str]) -> EgressRules {
    EgressRules {
        place: "agents.coder.sandbox".to_owned(),
        allowed: lines("allowed_network", allowed),
        blocked: lines("blocked_network", blocked),
        private_networks: lines("private_networks", private),
        own_listeners: vec!["0.0.0.0:8400".parse().expect("an address")],
        ..EgressRules::default()
    }
}

fn policy(allowed: &[&str], blocked: &[&str], private: &[&str]) -> EgressPolicy {
    EgressPolicy::new(&rules(allowed, blocked, private)).expect("rules")
}

fn judged(policy: &EgressPolicy, host: &str, port: u16) -> String {
    match policy.judge(&Host::parse(host).expect("a host"), port) {
        Ok(rule) => rule.to_string(),
        Err(denial) => denial.to_string(),
    }
}

fn checked(policy: &EgressPolicy, port: u16, addresses: &[&str]) -> String {
    let host = Host::parse("api.internal").expect("a host");
    let addresses: Vec<IpAddr> = addresses
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    match policy.check(&host, port, &addresses) {
        Ok(checked) => format!("{:?}", checked.as_slice()),
        Err(denial) => denial.to_string(),
    }
}

#[test]
fn the_sample_of_the_guide_allows_internal_names_but_not_metadata() {
    let policy = policy(
        &["api.github.com", "*.internal"],
        &[
            "torproject.org",
            "metadata.google.internal",
            "169.254.169.254",
        ],
        &[],
    );
    assert_eq!(judged(&policy, "build.internal", 443), "allowed_network[1]");
    assert_eq!(judged(&policy, "api.github.com", 80), "allowed_network[0]");
    assert_eq!(
        judged(&policy, "metadata.google.internal", 80),
        "metadata.google.internal:80 is denied: `metadata.google.internal` (blocked_network[1]) \
         blocks it; to allow it, remove `metadata.google.internal` (blocked_network[1]) from the \
         fleet file"
    );
}

#[test]
fn metadata_is_denied_even_if_it_is_listed() {
    let policy = policy(
        &[
            "*.internal",
            "metadata.google.internal",
            "169.254.169.254",
            "metadata",
        ],
        &[],
        &["10.0.0.0/8", "100.64.0.0/10", "fc00::/7"],
    );
    for name in [
        "metadata.google.internal",
        "instance-data.ec2.internal",
        "metadata",
    ] {
        assert_eq!(
            judged(&policy, name, 80),
            format!(
                "{name}:80 is denied: a cloud hands out credentials under this name; no line can \
                 allow it"
            )
        );
    }
    assert_eq!(
        judged(&policy, "169.254.169.254", 80),
        "169.254.169.254:80 is denied: its address 169.254.169.254 is cloud metadata; no line can \
         allow it"
    );
    for address in [
        "100.100.100.200",
        "fd00:ec2::254",
        "169.254.169.254",
        "168.63.129.16",
    ] {
        assert_eq!(
            checked(&policy, 80, &[address]),
            format!(
                "api.internal:80 is denied: its address {address} is cloud metadata; no line can \
                 allow it"
            )
        );
    }
}

#[test]
fn a_denial_says_which_line_would_allow_it() {
    let policy = policy(&["pypi.org", "git.example:22"], &["*.evil.example"], &[]);
    for (host, port, sentence) in [
        (
            "files.example",
            443,
            "files.example:443 is denied: no line of `allowed_network` names it; to allow it, add \
             `- files.example` below `agents.coder.sandbox.allowed_network`",
        ),
        (
            "pypi.org",
            8443,
            "pypi.org:8443 is denied: `pypi.org` (allowed_network[0]) allows ports 443 and 80 \
             alone; to allow it, add `- pypi.org:8443` below \
             `agents.coder.sandbox.allowed_network`",
        ),
        (
            "git.example",
            443,
            "git.example:443 is denied: `git.example:22` (allowed_network[1]) allows port 22 \
             alone; to allow it, add `- git.example` below `agents.coder.sandbox.allowed_network`",
        ),
        (
            "2606:4700::1",
            22,
            "[2606:4700::1]:22 is denied: no line of `allowed_network` names it; to allow it, add \
             `- [2606:4700::1]:22` below `agents.coder.sandbox.allowed_network`",
        ),
    ] {
        assert_eq!(judged(&policy, host, port), sentence);
    }
}

#[test]
fn blocking_wins_over_allowing_for_names_and_for_their_addresses() {
    let policy = policy(
        &["*.example", "9.9.9.9"],
        &["bad.example", "ftp.example:80", "9.9.9.9"],
        &[],
    );
    assert!(judged(&policy, "bad.example", 443).contains("(blocked_network[0]) blocks it"));
    assert!(judged(&policy, "ftp.example", 80).contains("(blocked_network[1]) blocks it"));
    assert_eq!(judged(&policy, "ftp.example", 443), "allowed_network[0]");
    assert!(judged(&policy, "9.9.9.9", 443).contains("(blocked_network[2]) blocks it"));
    assert!(checked(&policy, 443, &["9.9.9.9"]).contains("(blocked_network[2]) blocks it"));
}

#[test]
fn every_address_must_pass() {
    let closed = policy(&["*.internal"], &[], &[]);
    let open = policy(&["*.internal"], &[], &["10.1.0.0/16", "127.0.0.0/8"]);
    assert_eq!(
        checked(&closed, 443, &["1.1.1.1", "2606:4700::1"]),
        "[1.1.1.1:443, [2606:4700::1]:443]"
    );
    assert_eq!(
        checked(&closed, 443, &["10.1.2.3"]),
        "api.internal:443 is denied: its address 10.1.2.3 is private; to allow it, add \
         `- 10.1.2.3/32` below `agents.coder.sandbox.private_networks`"
    );
    assert_eq!(checked(&open, 443, &["10.1.2.3"]), "[10.1.2.3:443]");
    assert_eq!(checked(&open, 443, &["127.0.0.1"]), "[127.0.0.1:443]");
    assert!(checked(&open, 443, &["10.2.0.1"]).contains("add `- 10.2.0.1/32`"));
    assert!(checked(&open, 443, &["127.0.0.1", "::1"]).contains("add `- ::1/128`"));
    let mixed = "it resolved to 1.1.1.1, which is public, and to 10.1.2.3, which is not";
    for policy in [&closed, &open] {
        assert!(checked(policy, 443, &["1.1.1.1", "10.1.2.3"]).ends_with(mixed));
        assert!(checked(policy, 443, &["10.1.2.3", "1.1.1.1"]).ends_with(mixed));
    }
    assert!(checked(&open, 443, &[]).ends_with("it resolved to no address"));
    assert!(checked(&open, 443, &["0.0.0.0"]).ends_with("is reserved; no line can allow it"));
}

#[test]
fn the_supervisor_itself_is_out_of_reach() {
    let mut rules = rules(&["*.internal"], &[], &["10.0.0.0/8", "127.0.0.0/8"]);
    rules.own_listeners = ["0.0.0.0:8400", "127.0.0.1:9000", "8.8.4.4:9100"]
        .map(|text| text.parse().expect("an address"))
        .to_vec();
    let policy = EgressPolicy::new(&rules).expect("rules");
    for (address, port) in [
        ("127.0.0.1", 8400),
        ("10.0.0.9", 8400),
        ("127.0.0.1", 9000),
        ("8.8.4.4", 9100),
    ] {
        assert_eq!(
            checked(&policy, port, &[address]),
            format!(
                "api.internal:{port} is denied: the supervisor itself listens at {address}:{port}; \
                 no line can allow it"
            )
        );
    }
    assert_eq!(checked(&policy, 9000, &["10.0.0.9"]), "[10.0.0.9:9000]");
    assert_eq!(checked(&policy, 8400, &["1.1.1.1"]), "[1.1.1.1:8400]");
    assert!(policy.supervisor_has_port(8400) && !policy.supervisor_has_port(9000));
}

#[test]
fn every_line_that_cannot_be_read_is_told() {
    let errors = EgressPolicy::new(&rules(&["ok.example", "a b"], &["*"], &["8.8.8.8"]))
        .expect_err("three errors");
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "allowed_network[1]: `a b` is not a host, at byte 1: ` ` cannot stand in a host",
            "blocked_network[0]: `*` is not a host, at byte 0: `*` alone would match every host; \
             name the hosts, or write `*.example.com`",
            "private_networks[0]: `8.8.8.8` is not a private network (public); only networks in \
             10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 127.0.0.0/8, fc00::/7 and \
             ::1 can be opened, and public ones need not be",
        ]
    );
}

#[test]
fn a_name_is_answered_if_any_port_of_it_is_allowed() {
    let policy = policy(
        &["git.example:22", "*.open.example", "shut.open.example"],
        &["shut.open.example", "half.open.example:80"],
        &[],
    );
    for (name, answered) in [
        ("git.example", true),
        ("a.open.example", true),
        ("half.open.example", true),
        ("shut.open.example", false),
        ("other.example", false),
        ("open.example", false),
    ] {
        let name = DnsName::parse(name).expect("a name");
        assert_eq!(policy.judge_name(&name).is_ok(), answered, "{name}");
    }
}

proptest! {
    /// A pattern for everything below a name never allows the name or a neighbour of it.
    #[test]
    fn stars_stay_below_their_name(front in "[a-z0-9.-]{0,12}", glue in "[.-]?") {
        let policy = policy(&["*.example.com"], &[], &[]);
        let text = format!("{front}{glue}example.com");
        if let Ok(host) = Host::parse(&text) {
            let below = text.ends_with(".example.com");
            prop_assert_eq!(policy.judge(&host, 443).is_ok(), below, "{}", text);
        }
    }

    /// What passes is public or lies in an opened network, whatever the answer was.
    #[test]
    fn what_passes_is_public_or_opened(bits in any::<u128>(), four in any::<u32>(), first in any::<u8>()) {
        let policy = policy(&["*.internal"], &[], &["10.1.0.0/16"]);
        let host = Host::parse("a.internal").expect("a host");
        let four = IpAddr::from((four & 0x00ff_ffff | u32::from(first) << 24).to_be_bytes());
        let six = IpAddr::from(bits.to_be_bytes());
        for address in [four, six] {
            let passed = policy.check(&host, 443, &[address]).is_ok();
            let opened = address.to_string().starts_with("10.1.");
            let public = AddressKind::of(address) == AddressKind::Public;
            prop_assert_eq!(passed, opened || public, "{}", address);
        }
    }
}

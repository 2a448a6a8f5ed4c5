//! Hosts in all spellings, and what they resolve to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use claw_gateway::egress::policy::{Host, Pattern};
use proptest::prelude::*;

use super::{fuzzed, plainly_allowed, policy, texts};

/// Pieces that mean something, to get deeper than noise does.
const HOST_PIECES: [&str; 52] = [
    "api.example.com",
    "internal",
    "a.internal",
    "bad.internal",
    "worse.internal",
    "half.internal",
    "metadata.google.internal",
    "metadata",
    "example.org",
    "git.example.com",
    "localhost",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "169.254.169.254",
    "2852039166",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2606:4700::1111",
    "[fe80::1%25eth0]",
    "%eth0",
    "user@",
    "user:pw@",
    ":",
    ":443",
    ":80",
    ":0",
    ":65536",
    ".",
    "..",
    "*.",
    "*",
    "-",
    "_",
    "[",
    "]",
    "%2e",
    "%00",
    "\u{3002}",
    "\u{ff0e}",
    "１２７",
    "ａ",
    "xn--",
    "ß",
    "\u{200d}",
    "\u{ad}",
    " ",
    "\0",
];

/// Where networks of IPv4 begin, and some addresses in them.
const FOURS: [&str; 17] = [
    "0.0.0.0",
    "10.0.0.0",
    "10.1.0.0",
    "100.64.0.0",
    "100.100.100.200",
    "127.0.0.0",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.0",
    "192.0.0.0",
    "192.0.2.0",
    "192.168.0.0",
    "198.18.0.0",
    "203.0.113.0",
    "224.0.0.0",
    "255.255.255.255",
    "8.8.8.8",
];

/// The same for IPv6.
const SIXES: [&str; 16] = [
    "::",
    "::1",
    "::7f00:1",
    "::ffff:0:0",
    "::ffff:a9fe:a9fe",
    "64:ff9b::",
    "100::",
    "2001::",
    "2001:db8::",
    "2002:7f00:1::",
    "2606:4700::",
    "3fff::",
    "fc00::",
    "fd00:ec2::254",
    "fe80::",
    "ff02::1",
];

#[test]
fn hosts_in_any_spelling_are_judged_as_their_plain_spelling() {
    let policy = policy();
    let ports = prop::sample::select(vec![443, 80, 22, 8443, 1]);
    fuzzed(&(texts(&HOST_PIECES, 6), ports), |(text, port)| {
        if let Ok(pattern) = Pattern::parse(&text) {
            let again = Pattern::parse(&pattern.to_string());
            assert_eq!(again.as_ref(), Ok(&pattern), "{text:?}");
        }
        let Ok(host) = Host::parse(&text) else {
            return;
        };
        let plain = host.to_string();
        assert_eq!(Host::parse(&plain).as_ref(), Ok(&host), "{text:?}");
        if let Host::Name(name) = &host {
            let last = name.as_str().rsplit('.').next().expect("a label");
            let digits = last.strip_prefix("0x").unwrap_or(last);
            let radix = if digits == last { 10 } else { 16 };
            let number = digits.chars().all(|digit| digit.is_digit(radix));
            assert!(!number, "{text:?} may be read as an address");
            let mut labels = name.as_str().split('.');
            let hyphen = labels.any(|label| label.starts_with('-') || label.ends_with('-'));
            assert!(!hyphen, "{text:?} has a label with a hyphen at its edge");
            assert!(plain.len() <= 253 && plain.is_ascii(), "{text:?}");
        }
        let allowed = policy.judge(&host, port).is_ok();
        assert!(!allowed || plainly_allowed(&plain, port), "{text:?}:{port}");
    });
}

#[test]
fn addresses_that_pass_are_public_or_opened() {
    let policy = policy();
    let host = Host::parse("a.internal").expect("a host");
    fuzzed(&prop::collection::vec(addresses(), 0..4), |addresses| {
        let Ok(checked) = policy.check(&host, 443, &addresses) else {
            return;
        };
        let dialled: Vec<IpAddr> = checked
            .as_slice()
            .iter()
            .map(|address| address.ip())
            .collect();
        assert_eq!(dialled, addresses);
        let public = dialled
            .iter()
            .filter(|address| plainly_public(**address))
            .count();
        assert!(
            public == 0 || public == dialled.len(),
            "{dialled:?} is mixed"
        );
        let opened = |address: &IpAddr| {
            let text = address.to_string();
            text.starts_with("127.") || text.starts_with("10.1.")
        };
        assert!(public > 0 || dialled.iter().all(opened), "{dialled:?}");
        let metadata = [
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
        ];
        let told = dialled.iter().map(ToString::to_string);
        assert!(
            told.into_iter()
                .all(|text| !metadata.contains(&text.as_str())),
            "{dialled:?}"
        );
    });
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    let near = |text: &str| -> u128 {
        match text.parse().expect("an address") {
            IpAddr::V4(four) => u128::from(four.to_bits()),
            IpAddr::V6(six) => six.to_bits(),
        }
    };
    let fours = prop::sample::select(FOURS.map(near).to_vec());
    let sixes = prop::sample::select(SIXES.map(near).to_vec());
    prop_oneof![
        (fours, -3_i64..300).prop_map(|(base, step)| {
            let bits = u32::try_from(base).expect("IPv4");
            IpAddr::V4(Ipv4Addr::from_bits(
                bits.wrapping_add_signed(step.try_into().expect("small")),
            ))
        }),
        (sixes, -3_i128..300).prop_map(|(base, step)| {
            IpAddr::V6(Ipv6Addr::from_bits(base.wrapping_add_signed(step)))
        }),
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

/// The judge of addresses that a reader believes at once: what the standard library says.
fn plainly_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            !(four.is_loopback()
                || four.is_private()
                || four.is_link_local()
                || four.is_multicast()
                || four.is_broadcast()
                || four.is_documentation()
                || four.is_unspecified()
                || (four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64)
                || four.octets()[0] == 0
                || four.octets()[0] >= 240)
        }
        IpAddr::V6(six) => {
            let first = six.segments()[0];
            let tunnel = first == 0x2002 || (first == 0x2001 && six.segments()[1] == 0);
            first & 0xe000 == 0x2000 && !tunnel && six.to_ipv4().is_none()
        }
    }
}

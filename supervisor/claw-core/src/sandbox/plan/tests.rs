//! Tables of machines and wishes.

use super::super::{Ability, Lack};
use super::*;
use crate::spec::Resources;
use crate::spec::container::Exec;
use crate::spec::sandbox::{
    Egress, HostRule, Proc, ProcessLimits, Scratch, Sni, Tracing, Writable,
};

fn lack(call: &str) -> Lack {
    Lack {
        call: call.to_owned(),
        errno: 1,
        reason: "EPERM".to_owned(),
    }
}

fn missing(call: &str) -> Ability {
    Err(lack(call))
}

fn everything() -> Abilities {
    Abilities {
        privilege: Privilege::Root,
        namespaces: Ok(()),
        root_dir: Ok(()),
        proc: Ok(()),
        network: Ok(()),
        landlock: Ok(7),
        seccomp: Ok(()),
        quota: Ok(()),
    }
}

/// A container of Docker's with its default profile.
fn docker() -> Abilities {
    Abilities {
        namespaces: missing("unshare"),
        root_dir: missing("unshare"),
        proc: missing("unshare"),
        network: missing("unshare"),
        quota: missing("losetup"),
        ..everything()
    }
}

fn usual() -> Sandbox {
    Sandbox {
        on_missing: OnMissing::Refuse,
        readable: Vec::new(),
        hidden: Vec::new(),
        writable: Vec::new(),
        tmp: Scratch {
            size: 64 << 20,
            exec: Exec::Allowed,
        },
        shm: 16 << 20,
        network: Reach::Listed(Egress {
            sni: Sni::Required,
            max_tunnels: 64,
            ..Egress::default()
        }),
        seccomp: SystemCalls::Listed { also: Vec::new() },
        landlock: Landlock::BestEffort,
        proc: Proc::Masked,
        tracing: Tracing::Denied,
        limits: ProcessLimits {
            nofile: 1024,
            fsize: None,
        },
        usual: Resources::default(),
    }
}

fn listing(host: &str) -> Sandbox {
    let rule = HostRule {
        pattern: host.to_owned(),
        key: "sandbox.allowed_network[0]".to_owned(),
    };
    Sandbox {
        network: Reach::Listed(Egress {
            allowed: vec![rule],
            ..Egress::default()
        }),
        ..usual()
    }
}

fn degrading(wanted: Sandbox) -> Sandbox {
    Sandbox {
        on_missing: OnMissing::Degrade,
        ..wanted
    }
}

#[test]
fn a_machine_that_can_do_all_of_it_does_all_of_it() {
    let plan = plan(&usual(), &everything()).unwrap();
    assert_eq!(plan.level, Level::Full);
    assert!(plan.losses.is_empty());
    let expected = [
        Layer::OwnUser,
        Layer::UserNamespace,
        Layer::RootDir,
        Layer::Processes,
        Layer::Network,
        Layer::Landlock(7),
        Layer::Seccomp,
    ];
    assert_eq!(plan.layers, expected);
}

#[test]
fn an_ordinary_user_has_no_other_user_to_give() {
    let machine = Abilities {
        privilege: Privilege::User,
        ..everything()
    };
    let plan = plan(&usual(), &machine).unwrap();
    assert_eq!(plan.level, Level::Full);
    assert!(!plan.layers.contains(&Layer::OwnUser));
}

#[test]
fn what_is_missing_is_refused_with_its_reason_and_the_ways_out() {
    let refused = plan(&listing("api.example.com"), &docker()).unwrap_err();
    assert_eq!(refused.need, Need::ListedHosts);
    assert_eq!(refused.instead, Level::Landlock);
    assert_eq!(
        refused.to_string(),
        "`allowed_network` is set, and a network namespace cannot be created (unshare: EPERM). \
         Run the supervisor as root, or allow user namespaces (in a container: with the seccomp \
         profile of `docs/process-sandbox.md`); give the agent an `image`; or set \
         `sandbox: {on_missing: degrade}` to run with Landlock and a filter of system calls, \
         where it sees the processes of the host and a list of hosts lets it reach all of them"
    );
}

#[test]
fn each_wall_that_is_missing_is_refused_for_itself() {
    let cases: [(Abilities, Sandbox, Need); 6] = [
        (docker(), usual(), Need::NoNetwork),
        (
            docker(),
            Sandbox {
                network: Reach::Host,
                ..usual()
            },
            Need::RootDir,
        ),
        (
            Abilities {
                network: missing("unshare"),
                ..everything()
            },
            usual(),
            Need::NoNetwork,
        ),
        (
            Abilities {
                proc: missing("mount"),
                ..everything()
            },
            usual(),
            Need::RootDir,
        ),
        (
            Abilities {
                seccomp: missing("seccomp"),
                ..everything()
            },
            usual(),
            Need::Seccomp,
        ),
        (
            Abilities {
                landlock: Ok(2),
                ..everything()
            },
            Sandbox {
                landlock: Landlock::Require(4),
                ..usual()
            },
            Need::Landlock(4),
        ),
    ];
    for (machine, wanted, need) in cases {
        let refused = plan(&wanted, &machine).unwrap_err();
        assert_eq!(refused.need, need, "{refused}");
        let accepted = plan(&degrading(wanted), &machine).unwrap();
        assert!(accepted.losses.iter().any(|loss| loss.need == need));
    }
}

#[test]
fn less_is_given_where_less_is_accepted() {
    let wanted = degrading(usual());
    let half = plan(&wanted, &docker()).unwrap();
    assert_eq!(half.level, Level::Landlock);
    assert_eq!(
        half.layers,
        [Layer::OwnUser, Layer::Landlock(7), Layer::Seccomp]
    );
    let bare = Abilities {
        landlock: Err(lack("landlock_create_ruleset")),
        ..docker()
    };
    let nothing = plan(&wanted, &bare).unwrap();
    assert_eq!(nothing.level, Level::None);
    assert!(nothing.layers.is_empty());
}

#[test]
fn the_hosts_network_takes_no_network_namespace() {
    let machine = Abilities {
        network: missing("unshare"),
        ..everything()
    };
    let wanted = Sandbox {
        network: Reach::Host,
        ..usual()
    };
    let plan = plan(&wanted, &machine).unwrap();
    assert!(!plan.layers.contains(&Layer::Network));
    assert!(plan.losses.is_empty());
}

#[test]
fn a_quota_that_cannot_be_had_is_said_and_refuses_nothing() {
    let machine = Abilities {
        quota: missing("losetup"),
        ..everything()
    };
    let wanted = Sandbox {
        writable: vec![Writable {
            path: "/var/lib/agent".into(),
            size: Some(1 << 30),
            exec: Exec::Denied,
        }],
        ..usual()
    };
    let plan = plan(&wanted, &machine).unwrap();
    let needs: Vec<Need> = plan.losses.iter().map(|loss| loss.need).collect();
    assert_eq!(needs, [Need::Quota]);
    assert!(!plan.layers.contains(&Layer::Quota));
}

#[test]
fn filters_that_are_not_wanted_are_not_missed() {
    let machine = Abilities {
        seccomp: missing("seccomp"),
        ..everything()
    };
    let wanted = Sandbox {
        seccomp: SystemCalls::Any,
        ..usual()
    };
    assert!(plan(&wanted, &machine).unwrap().losses.is_empty());
}

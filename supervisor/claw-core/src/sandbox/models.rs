//! How an agent that shares the host's network calls language models and nothing else.

use super::{Abilities, Lack, Layer, Loss, Need, Plan};
use crate::spec::sandbox::{Reach, Sandbox};

/// The first version of Landlock's interface that tells ports apart (`landlock(7)`).
const PORTS: u32 = 4;

/// Adds to the plan of an agent with language models what follows from them.
///
/// In a network of its own they are all that it finds, and where hosts are reached nothing keeps
/// it from them. In between, an agent that is to reach no host gets no network of its own: its
/// filter of system calls keeps it from all connections, unless Landlock can judge them.
pub fn let_call_models(plan: &mut Plan, wanted: &Sandbox, machine: &Abilities) {
    let reaches_none = matches!(&wanted.network, Reach::Listed(list) if list.allowed.is_empty());
    let has_own = plan.layers.contains(&Layer::Network);
    if !reaches_none || has_own || !plan.layers.contains(&Layer::Seccomp) {
        return;
    }
    let lack = match &machine.landlock {
        Ok(version) if *version >= PORTS => {
            plan.layers.push(Layer::OnlyModels);
            return;
        }
        Ok(version) => Lack {
            call: "landlock_create_ruleset".to_owned(),
            errno: 0,
            reason: format!("this kernel has version {version}, and ports take {PORTS}"),
        },
        Err(lack) => lack.clone(),
    };
    let need = Need::Models;
    plan.losses.push(Loss { need, lack });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Privilege, plan};
    use crate::spec::sandbox::{Egress, HostRule, OnMissing, SystemCalls};

    fn without_networks(landlock: u32) -> Abilities {
        let lack = Lack {
            call: "clone".to_owned(),
            errno: 1,
            reason: "EPERM".to_owned(),
        };
        Abilities {
            privilege: Privilege::User,
            namespaces: Err(lack.clone()),
            root_dir: Err(lack.clone()),
            proc: Err(lack.clone()),
            network: Err(lack),
            landlock: Ok(landlock),
            seccomp: Ok(()),
            quota: Ok(()),
            process_count: Ok(()),
        }
    }

    fn degraded() -> Sandbox {
        Sandbox {
            on_missing: OnMissing::Degrade,
            ..Sandbox::default()
        }
    }

    /// What models add to the plan of a machine: layers, and losses.
    fn added(wanted: &Sandbox, machine: &Abilities) -> (Vec<Layer>, Vec<Need>) {
        let before = plan(wanted, machine).unwrap();
        let mut after = before.clone();
        let_call_models(&mut after, wanted, machine);
        let losses = after.losses[before.losses.len()..].iter();
        (
            after.layers[before.layers.len()..].to_vec(),
            losses.map(|loss| loss.need).collect(),
        )
    }

    #[test]
    fn a_port_is_opened_where_nothing_else_keeps_an_agent_in_and_ports_are_told_apart() {
        let only_models = (vec![Layer::OnlyModels], Vec::new());
        let lost = (Vec::new(), vec![Need::Models]);
        let nothing = (Vec::new(), Vec::new());
        assert_eq!(added(&degraded(), &without_networks(4)), only_models);
        assert_eq!(added(&degraded(), &without_networks(3)), lost);
        let whole = Abilities {
            namespaces: Ok(()),
            root_dir: Ok(()),
            proc: Ok(()),
            network: Ok(()),
            ..without_networks(4)
        };
        assert_eq!(added(&Sandbox::default(), &whole), nothing);
        let unfiltered = Sandbox {
            seccomp: SystemCalls::Any,
            ..degraded()
        };
        assert_eq!(added(&unfiltered, &without_networks(4)), nothing);
        let rule = HostRule {
            pattern: "api.example.com".to_owned(),
            key: "sandbox.allowed_network[0]".to_owned(),
        };
        let listing = Sandbox {
            network: Reach::Listed(Egress {
                allowed: vec![rule],
                ..Egress::default()
            }),
            ..degraded()
        };
        for machine in [without_networks(3), without_networks(7)] {
            assert_eq!(added(&listing, &machine), nothing);
        }
    }
}

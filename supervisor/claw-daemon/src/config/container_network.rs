//! What a container reaches: nothing, listed hosts, or everything.

use claw_core::spec::container::Network;

use super::confine::Wish;
use super::item::Fields;
use super::narrow::Wishes;
use super::reader::Reader;

/// What `network` of a container says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    None,
    Bridge,
}

impl Reader<'_> {
    /// Reads what a container reaches; lists of hosts are those of its own `sandbox`, within those
    /// of the fleet, as for a process.
    pub(super) fn container_network(
        &mut self,
        agent: &Fields<'_>,
        sandbox: Option<&Fields<'_>>,
    ) -> Network {
        let mut network = self.written_network(sandbox);
        match &mut network {
            Network::Listed(egress) => self.count_calls(agent, egress),
            Network::None | Network::Bridge => self.no_calls_counted(agent),
        }
        network
    }

    fn written_network(&mut self, sandbox: Option<&Fields<'_>>) -> Network {
        let own = sandbox.map_or_else(Wish::default, |fields| self.host_wish(fields));
        let words = [("none", Said::None), ("bridge", Said::Bridge)];
        let item = sandbox.and_then(|fields| fields.get("network"));
        let said = item.as_ref().and_then(|item| self.choice(item, &words));
        let fleet = self.fleet_sandbox.clone();
        match (item, said) {
            (Some(item), Some(said)) => {
                let shown = match said {
                    Said::None => "none",
                    Said::Bridge => "bridge",
                };
                self.lists_beside(&own, shown, item.span());
                match said {
                    Said::None => Network::None,
                    Said::Bridge => {
                        self.bridge_beside_fleet(&fleet, &item);
                        Network::Bridge
                    }
                }
            }
            (Some(_), None) => Network::None,
            (None, _) => {
                let egress = self.egress(&Wishes::of_container(&own, &fleet));
                if egress.allowed.is_empty() {
                    Network::None
                } else {
                    Network::Listed(Box::new(egress))
                }
            }
        }
    }
}

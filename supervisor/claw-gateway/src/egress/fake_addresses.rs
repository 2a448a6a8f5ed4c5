//! Addresses that stand for names: what the DNS responder answers with, and what a captured
//! connection is translated back from.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::policy::DnsName;

/// The network the addresses come from, meant for measurements inside one network and thus on no
/// host that an agent may want. A local route in the agent's namespace leads it to our listeners.
pub const FAKE_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// The most names of one agent that have an address at a time. An agent that resolves more loses
/// the ones it has not resolved for longest.
const MAX_NAMES: u32 = 4096;

/// The names of one agent and their addresses.
#[derive(Debug)]
pub struct FakeAddresses {
    network: Ipv4Net,
    capacity: usize,
    /// Where the search for a free address goes on, counted from the network's first. Going round
    /// keeps an address that was given up unused for as long as possible.
    next: u32,
    clock: u64,
    names: BTreeMap<DnsName, Entry>,
    addresses: BTreeMap<Ipv4Addr, DnsName>,
    by_age: BTreeMap<u64, DnsName>,
}

#[derive(Debug)]
struct Entry {
    address: Ipv4Addr,
    used: u64,
}

impl FakeAddresses {
    /// An empty table over a network of at least four addresses; a smaller one is widened to four.
    #[must_use]
    pub fn new(network: Ipv4Net) -> Self {
        let prefix = network.prefix_len().min(30);
        let network = Ipv4Net::new_assert(network.addr(), prefix).trunc();
        let hosts = hosts(network);
        // Half of the network stays free, so that the search for an address is short.
        let capacity = (hosts / 2).clamp(1, MAX_NAMES) as usize;
        Self {
            network,
            capacity,
            next: 0,
            clock: 0,
            names: BTreeMap::new(),
            addresses: BTreeMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    /// The address of a name, new if it has none.
    pub fn address_of(&mut self, name: &DnsName) -> Ipv4Addr {
        self.clock += 1;
        if let Some(entry) = self.names.get_mut(name) {
            if let Some(name) = self.by_age.remove(&entry.used) {
                self.by_age.insert(self.clock, name);
            }
            entry.used = self.clock;
            return entry.address;
        }
        if self.names.len() >= self.capacity {
            self.give_up_oldest();
        }
        let address = self.free_address();
        let used = self.clock;
        self.names.insert(name.clone(), Entry { address, used });
        self.addresses.insert(address, name.clone());
        self.by_age.insert(used, name.clone());
        address
    }

    /// The name an address stands for.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<&DnsName> {
        match address {
            IpAddr::V4(four) => self.addresses.get(&four),
            IpAddr::V6(_) => None,
        }
    }

    /// Whether the address stands for a name, now or at another time.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(four) => self.network.contains(&four),
            IpAddr::V6(_) => false,
        }
    }

    fn give_up_oldest(&mut self) {
        let Some((_, name)) = self.by_age.pop_first() else {
            return;
        };
        if let Some(entry) = self.names.remove(&name) {
            self.addresses.remove(&entry.address);
        }
    }

    /// The capacity is half of the network, so one of the next addresses is free.
    fn free_address(&mut self) -> Ipv4Addr {
        loop {
            let offset = 1 + self.next;
            self.next = (self.next + 1) % hosts(self.network);
            let address = Ipv4Addr::from_bits(self.network.network().to_bits() + offset);
            if !self.addresses.contains_key(&address) {
                return address;
            }
        }
    }
}

/// How many addresses a network has between its first and its last, at least two.
fn hosts(network: Ipv4Net) -> u32 {
    network.broadcast().to_bits() - network.network().to_bits() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).expect("a name")
    }

    #[test]
    fn a_name_keeps_its_address_and_the_oldest_is_given_up() {
        let network = "127.64.0.0/29".parse().expect("a network");
        let mut table = FakeAddresses::new(network);
        let addresses: Vec<String> = ["a", "b", "a", "c", "d", "a", "b"]
            .iter()
            .map(|text| table.address_of(&name(text)).to_string())
            .collect();
        assert_eq!(
            addresses,
            [
                "127.64.0.1",
                "127.64.0.2",
                "127.64.0.1",
                "127.64.0.3",
                "127.64.0.4",
                "127.64.0.1",
                "127.64.0.5",
            ]
        );
        let stands_for = |text: &str| table.name_of(text.parse().expect("an address")).cloned();
        assert_eq!(stands_for("127.64.0.1"), Some(name("a")));
        assert_eq!(
            stands_for("127.64.0.2"),
            None,
            "`b` was given up and came back elsewhere"
        );
        assert_eq!(
            stands_for("127.64.0.3"),
            None,
            "`c` was given up for the second `b`"
        );
        assert_eq!(stands_for("127.64.0.5"), Some(name("b")));
        assert_eq!(stands_for("::1"), None);
        assert!(table.contains("127.64.0.2".parse().expect("an address")));
        assert!(!table.contains("127.64.0.8".parse().expect("an address")));
    }

    #[test]
    fn the_table_is_bounded_and_stays_one_to_one() {
        for network in [
            "127.64.0.1/32",
            "127.64.0.0/30",
            "127.64.0.0/24",
            "198.18.0.0/15",
        ] {
            let mut table = FakeAddresses::new(network.parse().expect("a network"));
            for number in 0..20_000_u32 {
                let name = name(&format!("h{}.example", number % 7001));
                let address = IpAddr::V4(table.address_of(&name));
                assert!(table.contains(address), "{network}");
                assert_eq!(table.name_of(address), Some(&name), "{network}");
            }
            assert!(table.names.len() <= MAX_NAMES as usize, "{network}");
            assert_eq!(table.names.len(), table.addresses.len(), "{network}");
            assert_eq!(table.names.len(), table.by_age.len(), "{network}");
        }
    }
}

//! What kind of network an address belongs to, and which kinds may be dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What kind of network an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// The Internet.
    Public,
    /// This machine, `127.0.0.0/8` and `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// The carrier's side of a shared address, `100.64.0.0/10`.
    CarrierGrade,
    /// The private addresses of IPv6, `fc00::/7`.
    UniqueLocal,
    /// Where a cloud keeps the credentials of its machines.
    Metadata,
    /// Valid on one link only.
    LinkLocal,
    /// Many receivers, or all.
    Multicast,
    /// For examples in documents.
    Documentation,
    /// An IPv4 address in an IPv6 one, which would go around the checks of the IPv4 address.
    V4Mapped,
    /// An IPv4 address behind a translator.
    Nat64,
    /// An IPv4 address in a tunnel.
    SixToFour,
    /// An IPv4 address in another tunnel.
    Teredo,
    /// For no host at all.
    Reserved,
}

/// Whether `private_networks` can open a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Openness {
    /// It needs no opening.
    Open,
    /// `private_networks` can open it.
    Openable,
    /// Nothing can.
    Closed,
}

impl AddressKind {
    /// The kind of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(four) => of_four(four),
            IpAddr::V6(six) => of_six(six),
        }
    }

    /// Whether `private_networks` can open addresses of the kind.
    #[must_use]
    pub fn can_be_opened(self) -> bool {
        self.openness() == Openness::Openable
    }

    pub(super) fn openness(self) -> Openness {
        match self {
            Self::Public => Openness::Open,
            Self::Loopback | Self::Private | Self::CarrierGrade | Self::UniqueLocal => {
                Openness::Openable
            }
            Self::Metadata
            | Self::LinkLocal
            | Self::Multicast
            | Self::Documentation
            | Self::V4Mapped
            | Self::Nat64
            | Self::SixToFour
            | Self::Teredo
            | Self::Reserved => Openness::Closed,
        }
    }
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierGrade => "carrier-grade NAT",
            Self::UniqueLocal => "unique local",
            Self::Metadata => "cloud metadata",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation",
            Self::V4Mapped => "IPv4-mapped",
            Self::Nat64 => "NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::Reserved => "reserved",
        })
    }
}

/// The networks that `private_networks` may lie in, whole.
pub(super) fn openable_networks() -> impl Iterator<Item = IpNet> {
    let four = FOUR.iter().map(|(net, kind)| (IpNet::V4(*net), *kind));
    let six = SIX.iter().map(|(net, kind)| (IpNet::V6(*net), *kind));
    four.chain(six)
        .filter(|(_, kind)| kind.openness() == Openness::Openable)
        .map(|(net, _)| net)
}

const fn four(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn six(bits: u128, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix)
}

/// The IPv4 networks that are not public; the first match counts. Metadata stands first because
/// some of its addresses lie in networks that can be opened, or are public.
const FOUR: [(Ipv4Net, AddressKind); 20] = [
    (four(169, 254, 169, 254, 32), AddressKind::Metadata),
    (four(169, 254, 170, 2, 32), AddressKind::Metadata), // Credentials of Amazon's containers.
    (four(169, 254, 0, 23, 32), AddressKind::Metadata),  // Tencent.
    (four(100, 100, 100, 200, 32), AddressKind::Metadata), // Alibaba.
    (four(168, 63, 129, 16, 32), AddressKind::Metadata), // Azure, in a public network.
    (four(192, 0, 0, 192, 32), AddressKind::Metadata),   // Oracle.
    (four(127, 0, 0, 0, 8), AddressKind::Loopback),
    (four(10, 0, 0, 0, 8), AddressKind::Private),
    (four(172, 16, 0, 0, 12), AddressKind::Private),
    (four(192, 168, 0, 0, 16), AddressKind::Private),
    (four(100, 64, 0, 0, 10), AddressKind::CarrierGrade),
    (four(169, 254, 0, 0, 16), AddressKind::LinkLocal),
    (four(192, 0, 2, 0, 24), AddressKind::Documentation),
    (four(198, 51, 100, 0, 24), AddressKind::Documentation),
    (four(203, 0, 113, 0, 24), AddressKind::Documentation),
    (four(192, 88, 99, 0, 24), AddressKind::SixToFour),
    (four(224, 0, 0, 0, 4), AddressKind::Multicast),
    (four(0, 0, 0, 0, 8), AddressKind::Reserved),
    (four(192, 0, 0, 0, 24), AddressKind::Reserved),
    (four(198, 18, 0, 0, 15), AddressKind::Reserved),
];

/// The IPv6 networks that are not public; the first match counts. What matches none and lies
/// outside `2000::/3` is reserved.
const SIX: [(Ipv6Net, AddressKind); 19] = [
    (six(0xfd00_0ec2 << 96, 32), AddressKind::Metadata), // Amazon.
    (six(0xfd20_00ce << 96, 32), AddressKind::Metadata), // Google.
    (six(1, 128), AddressKind::Loopback),
    (six(0xfc00 << 112, 7), AddressKind::UniqueLocal),
    (six(0xfe80 << 112, 10), AddressKind::LinkLocal),
    (six(0xff00 << 112, 8), AddressKind::Multicast),
    (six(0xffff << 32, 96), AddressKind::V4Mapped),
    (six(0xffff << 48, 96), AddressKind::V4Mapped), // Translated, RFC 2765.
    (six(0, 96), AddressKind::V4Mapped),            // Compatible, RFC 4291.
    (six(0x0064_ff9b << 96, 96), AddressKind::Nat64),
    (six(0x0064_ff9b_0001 << 80, 48), AddressKind::Nat64),
    (six(0x2002 << 112, 16), AddressKind::SixToFour),
    (six(0x2001_0000 << 96, 32), AddressKind::Teredo),
    (six(0x2001_0db8 << 96, 32), AddressKind::Documentation),
    (six(0x3fff << 112, 20), AddressKind::Documentation),
    (six(0x2001_0000 << 96, 23), AddressKind::Reserved),
    (six(0x0100 << 112, 64), AddressKind::Reserved),
    (six(0x5f00 << 112, 16), AddressKind::Reserved),
    (six(0xfec0 << 112, 10), AddressKind::Reserved),
];

/// What the Internet is in IPv6.
const GLOBAL_UNICAST: Ipv6Net = six(0x2000 << 112, 3);

fn of_four(address: Ipv4Addr) -> AddressKind {
    match FOUR.iter().find(|(net, _)| net.contains(&address)) {
        Some((_, kind)) => *kind,
        None if address.octets()[0] >= 240 => AddressKind::Reserved,
        None => AddressKind::Public,
    }
}

fn of_six(address: Ipv6Addr) -> AddressKind {
    let kind = match SIX.iter().find(|(net, _)| net.contains(&address)) {
        Some((_, kind)) => *kind,
        None if GLOBAL_UNICAST.contains(&address) => AddressKind::Public,
        None => AddressKind::Reserved,
    };
    // An audit must show that somebody asked for credentials, in whatever dress.
    match embedded(address, kind).map(of_four) {
        Some(AddressKind::Metadata) => AddressKind::Metadata,
        Some(_) | None => kind,
    }
}

/// The IPv4 address that an IPv6 address of some kinds carries.
fn embedded(address: Ipv6Addr, kind: AddressKind) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let low = |shift: u32| {
        let part = (bits >> shift) & u128::from(u32::MAX);
        u32::try_from(part).ok().map(Ipv4Addr::from_bits)
    };
    match kind {
        AddressKind::V4Mapped | AddressKind::Nat64 => low(0),
        AddressKind::SixToFour => low(80),
        AddressKind::Teredo => low(0).map(|four| Ipv4Addr::from_bits(!four.to_bits())),
        AddressKind::Public
        | AddressKind::Loopback
        | AddressKind::Private
        | AddressKind::CarrierGrade
        | AddressKind::UniqueLocal
        | AddressKind::Metadata
        | AddressKind::LinkLocal
        | AddressKind::Multicast
        | AddressKind::Documentation
        | AddressKind::Reserved => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_addresses() {
        for (text, kind) in [
            ("1.1.1.1", AddressKind::Public),
            ("172.15.255.255", AddressKind::Public),
            ("172.32.0.0", AddressKind::Public),
            ("2606:4700::1111", AddressKind::Public),
            ("127.255.255.255", AddressKind::Loopback),
            ("::1", AddressKind::Loopback),
            ("10.0.0.1", AddressKind::Private),
            ("172.31.255.255", AddressKind::Private),
            ("192.168.255.1", AddressKind::Private),
            ("100.64.0.1", AddressKind::CarrierGrade),
            ("100.127.255.255", AddressKind::CarrierGrade),
            ("fd12::1", AddressKind::UniqueLocal),
            ("169.254.169.254", AddressKind::Metadata),
            ("169.254.170.2", AddressKind::Metadata),
            ("100.100.100.200", AddressKind::Metadata),
            ("168.63.129.16", AddressKind::Metadata),
            ("fd00:ec2::254", AddressKind::Metadata),
            ("fd20:ce::254", AddressKind::Metadata),
            ("::ffff:169.254.169.254", AddressKind::Metadata),
            ("::169.254.169.254", AddressKind::Metadata),
            ("64:ff9b::a9fe:a9fe", AddressKind::Metadata),
            ("2002:a9fe:a9fe::1", AddressKind::Metadata),
            ("2001::5601:5601", AddressKind::Metadata),
            ("169.254.1.1", AddressKind::LinkLocal),
            ("fe80::1", AddressKind::LinkLocal),
            ("224.0.0.1", AddressKind::Multicast),
            ("ff02::1", AddressKind::Multicast),
            ("192.0.2.1", AddressKind::Documentation),
            ("198.51.100.1", AddressKind::Documentation),
            ("203.0.113.1", AddressKind::Documentation),
            ("2001:db8::1", AddressKind::Documentation),
            ("3fff::1", AddressKind::Documentation),
            ("::ffff:8.8.8.8", AddressKind::V4Mapped),
            ("::ffff:0:8.8.8.8", AddressKind::V4Mapped),
            ("::8.8.8.8", AddressKind::V4Mapped),
            ("::", AddressKind::V4Mapped),
            ("64:ff9b::808:808", AddressKind::Nat64),
            ("64:ff9b:1::1", AddressKind::Nat64),
            ("2002:808:808::1", AddressKind::SixToFour),
            ("192.88.99.1", AddressKind::SixToFour),
            ("2001::1", AddressKind::Teredo),
            ("0.0.0.0", AddressKind::Reserved),
            ("192.0.0.1", AddressKind::Reserved),
            ("198.18.0.1", AddressKind::Reserved),
            ("240.0.0.1", AddressKind::Reserved),
            ("255.255.255.255", AddressKind::Reserved),
            ("100::1", AddressKind::Reserved),
            ("2001:20::1", AddressKind::Reserved),
            ("4000::1", AddressKind::Reserved),
            ("5f00::1", AddressKind::Reserved),
            ("fec0::1", AddressKind::Reserved),
        ] {
            let address = text.parse().expect("an address");
            assert_eq!(AddressKind::of(address), kind, "{text}");
        }
    }

    #[test]
    fn only_private_networks_and_this_machine_can_be_opened() {
        let nets: Vec<String> = openable_networks().map(|net| net.to_string()).collect();
        assert_eq!(
            nets,
            [
                "127.0.0.0/8",
                "10.0.0.0/8",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "100.64.0.0/10",
                "::1/128",
                "fc00::/7",
            ]
        );
    }
}

//! Which address of a broker a reader can use, by where the reader stands.
//!
//! A broker advertises one address. In a container with published ports that address serves either the programs of
//! the host (127.0.0.1) or the neighbours in the container network, never both. The nameserver sees more: the
//! address that a registration came from, and the networks that it has a foot in itself. So neighbours are told the
//! inner address, the host is told 127.0.0.1, and everybody else what the broker advertises, as upstream does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Who asks, and under which address the nameserver was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Address of the reader.
    pub peer: IpAddr,
    /// Address of the nameserver that the reader dialled.
    pub local: IpAddr,
}

impl Reader {
    /// A reader on the nameserver's machine.
    pub const LOOPBACK: Reader =
        Reader { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), local: IpAddr::V4(Ipv4Addr::LOCALHOST) };
}

/// What a registration tells about the broker's address beside the address itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Address that the registration came from.
    pub peer: IpAddr,
    /// Whether nobody chose the advertised address: the broker took the one that its machine had.
    pub by_default: bool,
}

/// An IPv4 network that this machine has an address in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: u32,
    mask: u32,
}

impl Network {
    fn contains(self, ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if u32::from(ip) & self.mask == self.address)
    }

    /// The first address, which container engines give the host.
    fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.address.wrapping_add(1))
    }
}

/// The networks around this nameserver. Only IPv4 is looked at: container engines give neighbours IPv4 addresses
/// unless told otherwise, and a network without translation needs none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    networks: Vec<Network>,
    gateways: Vec<Ipv4Addr>,
    in_container: bool,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Elsewhere,
    /// In a network of the nameserver's.
    Neighbour(Network),
    /// On the other side of a gateway of such a network: for a container, the host that it runs on.
    Host,
}

impl Surroundings {
    /// Reads the kernel's table of IPv4 routes (`/proc/net/route`). A line that cannot be read counts for nothing.
    /// `in_container`: whether a container engine runs this nameserver with ports that the host publishes.
    pub fn from_route_table(table: &str, in_container: bool) -> Surroundings {
        let mut found = Surroundings { in_container, ..Surroundings::default() };
        for line in table.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // Interface, destination, gateway, flags, three counters, mask. The numbers are in the byte order of
            // addresses, read as little-endian.
            let number = |at: usize| Some(u32::from_str_radix(columns.get(at)?, 16).ok()?.swap_bytes());
            let (Some(address), Some(gateway), Some(mask)) = (number(1), number(2), number(7)) else { continue };
            if gateway != 0 {
                found.gateways.push(gateway.into());
            } else if mask != 0 && mask != u32::MAX {
                found.networks.push(Network { address, mask });
            }
        }
        found
    }

    fn standing(&self, peer: IpAddr) -> Standing {
        let Some(network) = self.networks.iter().find(|network| network.contains(peer)) else {
            return Standing::Elsewhere;
        };
        let is_gateway = self.gateways.iter().any(|gateway| peer == *gateway) || peer == network.first();
        if is_gateway { Standing::Host } else { Standing::Neighbour(*network) }
    }
}

/// Addresses that one reader is told instead of the advertised ones.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<Arc<str>, String>);

impl Seen {
    /// What `reader` is told of these brokers, each with its advertised address.
    pub fn by<'b>(
        reader: Reader,
        surroundings: &Surroundings,
        brokers: impl Iterator<Item = (&'b Arc<str>, Origin)>,
    ) -> Seen {
        let reader = Reader { peer: reader.peer.to_canonical(), local: reader.local.to_canonical() };
        let standing = surroundings.standing(reader.peer);
        if standing == Standing::Elsewhere {
            return Seen::default();
        }
        let replaced = brokers.filter_map(|(advertised, origin)| {
            let address = address_for(standing, reader, surroundings, advertised, origin)?;
            Some((advertised.clone(), address.to_string()))
        });
        Seen(replaced.collect())
    }

    /// Whether the reader is told what everybody is.
    pub fn is_plain(&self) -> bool {
        self.0.is_empty()
    }

    /// The address to tell.
    pub fn address(&self, advertised: &str) -> String {
        self.0.get(advertised).map_or(advertised, String::as_str).to_owned()
    }
}

/// The address to tell instead of `advertised`; `None` keeps it.
fn address_for(
    standing: Standing,
    reader: Reader,
    surroundings: &Surroundings,
    advertised: &str,
    origin: Origin,
) -> Option<SocketAddr> {
    let advertised: SocketAddr = advertised.parse().ok()?;
    let ip = match standing {
        Standing::Elsewhere => return None,
        Standing::Neighbour(network) => {
            let elsewhere = |other: &Network| *other != network && other.contains(advertised.ip());
            if !advertised.ip().is_loopback() && !surroundings.networks.iter().any(elsewhere) {
                return None;
            }
            let peer = origin.peer.to_canonical();
            // A broker in the nameserver's own container is reached where the nameserver is.
            let inner = if peer.is_loopback() { reader.local } else { peer };
            Some(inner).filter(|inner| network.contains(*inner))?
        }
        Standing::Host => {
            let inner = surroundings.networks.iter().any(|network| network.contains(advertised.ip()));
            if !(surroundings.in_container && origin.by_default && inner) {
                return None;
            }
            Ipv4Addr::LOCALHOST.into()
        }
    };
    (ip != advertised.ip()).then(|| SocketAddr::new(ip, advertised.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container at 172.18.0.2 in 172.18.0.0/16 and at 172.19.0.2 in 172.19.0.0/16.
    const CONTAINER: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t000013AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
half a line
";

    fn told(advertised: &str, broker: &str, by_default: bool, reader: &str) -> String {
        told_in(&Surroundings::from_route_table(CONTAINER, true), advertised, broker, by_default, reader)
    }

    fn told_in(surroundings: &Surroundings, advertised: &str, broker: &str, by_default: bool, reader: &str) -> String {
        let advertised: Arc<str> = advertised.into();
        let origin = Origin { peer: broker.parse().unwrap(), by_default };
        let reader = Reader { peer: reader.parse().unwrap(), local: "172.18.0.2".parse().unwrap() };
        Seen::by(reader, surroundings, [(&advertised, origin)].into_iter()).address(&advertised)
    }

    #[test]
    fn a_neighbour_of_a_broker_that_advertises_the_loopback_is_told_the_inner_address() {
        assert_eq!(told("127.0.0.1:10911", "172.18.0.3", false, "172.18.0.4"), "172.18.0.3:10911");
        assert_eq!(told("127.0.0.1:10911", "::ffff:172.18.0.3", false, "::ffff:172.18.0.4"), "172.18.0.3:10911");
    }

    #[test]
    fn a_broker_in_the_nameservers_container_is_told_where_the_nameserver_was_dialled() {
        assert_eq!(told("127.0.0.1:10911", "127.0.0.1", false, "172.18.0.4"), "172.18.0.2:10911");
    }

    #[test]
    fn the_host_and_everybody_outside_are_told_what_the_operator_chose() {
        for reader in ["172.18.0.1", "172.19.0.1", "10.4.7.71", "127.0.0.1", "2001:db8::1"] {
            assert_eq!(told("127.0.0.1:10911", "172.18.0.3", false, reader), "127.0.0.1:10911", "{reader}");
            assert_eq!(told("10.4.7.71:10911", "172.18.0.3", false, reader), "10.4.7.71:10911", "{reader}");
            assert_eq!(told("172.18.0.3:10911", "172.18.0.3", false, reader), "172.18.0.3:10911", "{reader}");
        }
        // An address that reaches the host serves neighbours too.
        assert_eq!(told("10.4.7.71:10911", "172.18.0.3", false, "172.18.0.4"), "10.4.7.71:10911");
        assert_eq!(told("broker.example:10911", "172.18.0.3", false, "172.18.0.4"), "broker.example:10911");
    }

    #[test]
    fn the_host_is_told_its_own_loopback_when_nobody_chose_an_address() {
        assert_eq!(told("172.18.0.3:10911", "172.18.0.3", true, "172.18.0.1"), "127.0.0.1:10911");
        assert_eq!(told("172.18.0.3:10911", "172.18.0.3", true, "172.18.0.4"), "172.18.0.3:10911");
        assert_eq!(told("172.18.0.3:10911", "172.18.0.3", true, "10.4.7.71"), "172.18.0.3:10911");
        let on_a_machine = Surroundings::from_route_table(CONTAINER, false);
        assert_eq!(told_in(&on_a_machine, "172.18.0.3:10911", "172.18.0.3", true, "172.18.0.1"), "172.18.0.3:10911");
    }

    #[test]
    fn a_neighbour_in_another_network_than_the_advertised_address_is_told_one_of_its_own() {
        assert_eq!(told("172.18.0.3:10911", "172.19.0.3", true, "172.19.0.4"), "172.19.0.3:10911");
        // The broker is not known to be in that network.
        assert_eq!(told("172.18.0.3:10911", "172.18.0.3", true, "172.19.0.4"), "172.18.0.3:10911");
    }

    #[test]
    fn without_a_route_table_everybody_is_told_what_is_advertised() {
        let nothing = Surroundings::from_route_table("", true);
        assert_eq!(nothing, Surroundings { in_container: true, ..Surroundings::default() });
        assert_eq!(told_in(&nothing, "127.0.0.1:1", "172.18.0.3", true, "172.18.0.4"), "127.0.0.1:1");
    }
}

//! What a broker is called and where it is reached when its operator says nothing.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;

/// Defaults that depend on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Default of `brokerName`.
    pub name: String,
    /// Default of `brokerIP1`.
    pub address: IpAddr,
    /// Default of `storePathRootDir`.
    pub data_dir: PathBuf,
}

impl Host {
    /// The machine this runs on. Who starts the broker knows where its data belongs.
    pub fn of_this_machine(data_dir: PathBuf) -> Host {
        Host { name: name(), address: address(), data_dir }
    }
}

/// The host name, as the kernel has it.
fn name() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    match told.unwrap_or_default().trim() {
        // The name that a stock broker takes when it finds none.
        "" => "DEFAULT_BROKER".to_owned(),
        name => name.to_owned(),
    }
}

/// The address from which this machine speaks to others; 127.0.0.1 if it speaks to none.
///
/// A stock broker takes the first interface that is not the loopback, which may be one that no other machine
/// reaches. The routing table knows better: a UDP socket that is connected to an address outside takes the source
/// address of that route. Connecting a UDP socket sends nothing, and the addresses are reserved for documentation.
fn address() -> IpAddr {
    let outside: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let routed = outside.into_iter().find_map(|(any, outside)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((outside, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(reaches_others)
    });
    // A network without a way out, such as an internal one of a container engine, has no route to the outside.
    routed.or_else(first_local).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// The first IPv4 address of this machine in the kernel's table that is not a loopback.
fn first_local() -> Option<IpAddr> {
    first_local_in(&std::fs::read_to_string("/proc/net/fib_trie").ok()?)
}

/// An address is on the line before the one that says `/32 host LOCAL`.
fn first_local_in(fib_trie: &str) -> Option<IpAddr> {
    let pairs = fib_trie.lines().zip(fib_trie.lines().skip(1));
    pairs
        .filter(|(_, kind)| kind.trim() == "/32 host LOCAL")
        .filter_map(|(address, _)| address.trim().strip_prefix("|-- ")?.parse().ok())
        .find(reaches_others)
}

fn reaches_others(address: &IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

/// The present address of a host name, IPv4 if it has one.
pub fn resolve(name: &str) -> Option<IpAddr> {
    let addresses: Vec<IpAddr> = (name, 0).to_socket_addrs().ok()?.map(|address| address.ip()).collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_an_address() {
        let host = Host::of_this_machine("store".into());
        assert!(!host.name.is_empty() && !host.name.contains(char::is_whitespace), "{host:?}");
        assert!(!host.address.is_unspecified(), "{host:?}");
        assert_eq!(host.data_dir, PathBuf::from("store"));
    }

    #[test]
    fn the_kernels_table_gives_the_first_address_beyond_the_loopback() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.0\n        /8 host LOCAL\n     |-- 127.0.0.1\n\
                     \x20       /32 host LOCAL\n     |-- 172.18.0.3\n        /32 host LOCAL\n     |-- 172.18.255.255\n\
                     \x20       /32 link BROADCAST\n";
        assert_eq!(first_local_in(table), Some(IpAddr::from([172, 18, 0, 3])));
        assert_eq!(first_local_in(""), None);
    }

    #[test]
    fn a_host_name_becomes_an_address() {
        assert!(resolve("localhost").unwrap().is_loopback());
        assert_eq!(resolve("name with blanks"), None);
    }
}

//! Proxies before the console, and what is believed of them: where a request came from, and who sent it. Of anybody else
//! nothing is believed, for everybody can send any header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::Role;

/// Where proxies say for whom they ask: addresses, the nearest last.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most characters of a name.
const NAME_MAX: usize = 128;

/// What the console is told of its proxies, as it was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// Addresses or networks of proxies, such as `10.0.0.0/8`.
    pub trusted: Vec<String>,
    /// Header with the name of the user; without it nobody is signed on by a proxy.
    pub user_header: Option<String>,
    /// Header with roles or groups of the user, separated by commas.
    pub role_header: Option<String>,
    /// What groups may do: `group=role`. Without any, the header names roles.
    pub roles: Vec<String>,
    /// Role of users for whom the header names none; without it they may do what one may without a login.
    pub default_role: Option<String>,
}

/// Why settings of proxies make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// No address, or more bits than it has.
    #[error("`{0}` is no address and no network, such as 10.0.0.1 or 10.0.0.0/8")]
    Network(String),
    /// A network that everybody is in.
    #[error("`{0}` is everybody, who could send any name; name the networks of proxies")]
    Everybody(String),
    /// A header cannot be named so.
    #[error("`{0}` is no name of a header")]
    Header(String),
    /// There is no such role.
    #[error("`{0}` is no role; known: viewer, operator, admin")]
    Role(String),
    /// Not `group=role`.
    #[error("`{0}` says no role; expected group=role")]
    Mapping(String),
    /// Names would be believed of nobody.
    #[error("a header with users is set, but no proxy of whom it is believed")]
    NoProxy,
    /// Roles of nobody.
    #[error("roles are set, but no header with users")]
    NoUserHeader,
    /// Groups are mapped, but nothing names them.
    #[error("groups are mapped to roles, but no header has them")]
    NoRoleHeader,
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// Bits at the beginning that all its addresses share.
    bits: u32,
}

/// Users whom a proxy names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SignOn {
    user_header: HeaderName,
    role_header: Option<HeaderName>,
    /// Empty where the header names roles.
    roles: Vec<(String, Role)>,
    default_role: Role,
}

/// Whom a proxy named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOn {
    /// The name.
    pub user: String,
    /// What they may do.
    pub role: Role,
}

/// Proxies before the console.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    trusted: Vec<Network>,
    sign_on: Option<SignOn>,
}

impl Proxies {
    /// Reads what was typed.
    pub fn new(told: &ProxySettings) -> Result<Proxies, ProxyError> {
        let given = |text: &&String| !text.trim().is_empty();
        let trusted = told.trusted.iter().filter(given).map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
        let header = |name: &Option<String>| name.as_ref().filter(given).map(|name| header_of(name)).transpose();
        let roles = told.roles.iter().filter(given).map(|text| mapping_of(text)).collect::<Result<Vec<_>, _>>()?;
        let default_role = told.default_role.as_ref().filter(given).map(|name| role_of(name)).transpose()?;
        let (user_header, role_header) = (header(&told.user_header)?, header(&told.role_header)?);
        let Some(user_header) = user_header else {
            let has_roles = role_header.is_some() || !roles.is_empty() || default_role.is_some();
            return if has_roles { Err(ProxyError::NoUserHeader) } else { Ok(Proxies { trusted, sign_on: None }) };
        };
        if trusted.is_empty() {
            return Err(ProxyError::NoProxy);
        }
        if role_header.is_none() && !roles.is_empty() {
            return Err(ProxyError::NoRoleHeader);
        }
        let sign_on = SignOn { user_header, role_header, roles, default_role: default_role.unwrap_or(Role::Guest) };
        Ok(Proxies { trusted, sign_on: Some(sign_on) })
    }

    /// Where a request came from that `peer` sent: the last address of those told that is none of our proxies.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines: Vec<&[u8]> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        for told in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            if !self.trusts(client) {
                break;
            }
            // What is no address was told by somebody before the proxy that is known.
            let Some(address) = str::from_utf8(told).ok().and_then(|told| address_of(told.trim())) else { break };
            client = address;
        }
        client
    }

    /// Whom `peer` says to be the sender. A header that is there twice may have come from outside, past a proxy that adds
    /// its own: then nobody is named.
    pub fn signed_on(&self, peer: IpAddr, headers: &HeaderMap) -> Option<SignedOn> {
        let sign_on = self.sign_on.as_ref().filter(|_| self.trusts(peer))?;
        let user = only(headers, &sign_on.user_header)?;
        if user.is_empty() || NAME_MAX < user.len() {
            return None;
        }
        let role = match &sign_on.role_header {
            Some(name) if headers.contains_key(name) => sign_on.role(only(headers, name)?),
            _ => None,
        };
        Some(SignedOn { user: user.to_owned(), role: role.unwrap_or(sign_on.default_role) })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.has(address))
    }
}

impl SignOn {
    /// The highest role that any group has.
    fn role(&self, groups: &str) -> Option<Role> {
        let role_of = |group: &str| match self.roles.is_empty() {
            true => Role::of_name(group),
            false => self.roles.iter().filter(|(name, _)| name == group).map(|(_, role)| *role).max(),
        };
        groups.split(',').filter_map(|group| role_of(group.trim())).max()
    }
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    match values.next() {
        None => Some(value),
        Some(_) => {
            tracing::warn!(%name, "a proxy sent a header twice; nobody is signed on by it");
            None
        }
    }
}

fn header_of(name: &str) -> Result<HeaderName, ProxyError> {
    HeaderName::from_str(name.trim()).map_err(|_| ProxyError::Header(name.to_owned()))
}

fn role_of(name: &str) -> Result<Role, ProxyError> {
    Role::of_name(name.trim()).ok_or_else(|| ProxyError::Role(name.to_owned()))
}

fn mapping_of(text: &str) -> Result<(String, Role), ProxyError> {
    // Names of groups may have the sign, as those of directories do.
    let (group, role) = text.rsplit_once('=').ok_or_else(|| ProxyError::Mapping(text.to_owned()))?;
    Ok((group.trim().to_owned(), role_of(role)?))
}

/// An address with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|address: std::net::SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: Option<IpAddr> = text.parse().ok().or_else(with_port).or_else(in_brackets);
    address.map(|address| address.to_canonical())
}

impl FromStr for Network {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Network, ProxyError> {
        let text = text.trim();
        let wrong = || ProxyError::Network(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        match bits.unwrap_or(most) {
            0 => Err(ProxyError::Everybody(text.to_owned())),
            bits if bits <= most => Ok(Network { address, bits }),
            _ => Err(wrong()),
        }
    }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        self.bits <= differing
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn settings() -> ProxySettings {
        ProxySettings {
            trusted: vec!["10.0.0.0/8".into(), "fd00::1".into()],
            user_header: Some("X-Forwarded-User".into()),
            role_header: Some("X-Forwarded-Groups".into()),
            roles: vec!["cn=mq=operator".into(), "sre=admin".into(), "all=viewer".into()],
            default_role: None,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_have_the_addresses_that_begin_alike() {
        let check = |network: &str, address: &str, expected: bool| {
            assert_eq!(network.parse::<Network>().unwrap().has(ip(address)), expected, "{network} {address}");
        };
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.9.9.9/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("172.16.0.0/12", "172.31.255.255", true);
        check("172.16.0.0/12", "172.32.0.0", false);
        check("fd00::/8", "fd12::1", true);
        check("fd00::/8", "fe80::1", false);
        check("fd00::/8", "10.0.0.1", false);
        check("128.0.0.0/1", "127.0.0.1", false);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let check = |change: &dyn Fn(&mut ProxySettings), expected: &str| {
            let mut settings = settings();
            change(&mut settings);
            assert_eq!(Proxies::new(&settings).unwrap_err().to_string(), expected);
        };
        check(
            &|told| told.trusted = vec!["10.0.0".into()],
            "`10.0.0` is no address and no network, such as 10.0.0.1 or 10.0.0.0/8",
        );
        check(
            &|told| told.trusted = vec!["10.0.0.0/33".into()],
            "`10.0.0.0/33` is no address and no network, such as 10.0.0.1 or 10.0.0.0/8",
        );
        check(
            &|told| told.trusted = vec!["::/0".into()],
            "`::/0` is everybody, who could send any name; name the networks of proxies",
        );
        check(&|told| told.trusted = Vec::new(), "a header with users is set, but no proxy of whom it is believed");
        check(&|told| told.user_header = Some("x y".into()), "`x y` is no name of a header");
        check(&|told| told.user_header = None, "roles are set, but no header with users");
        check(&|told| told.role_header = None, "groups are mapped to roles, but no header has them");
        check(&|told| told.roles = vec!["sre".into()], "`sre` says no role; expected group=role");
        check(&|told| told.roles = vec!["sre=root".into()], "`root` is no role; known: viewer, operator, admin");
        check(&|told| told.default_role = Some("guest".into()), "`guest` is no role; known: viewer, operator, admin");
        assert_eq!(Proxies::new(&ProxySettings::default()), Ok(Proxies::default()));
    }

    #[test]
    fn a_client_is_the_last_address_that_is_no_proxy() {
        let proxies = Proxies::new(&settings()).unwrap();
        let check = |peer: &str, lines: &[&'static str], expected: &str| {
            let lines: Vec<(&'static str, &'static str)> =
                lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(proxies.client(ip(peer), &headers(&lines)), ip(expected), "{peer} {lines:?}");
        };
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.7"], "192.0.2.7");
        check("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7");
        check("10.0.0.1", &["203.0.113.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7");
        check("10.0.0.1", &["203.0.113.9", "192.0.2.7", "10.0.0.2"], "192.0.2.7");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7");
        check("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1");
        check("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check("fd00::1", &["2001:db8::1"], "2001:db8::1");
        // Not by a proxy of ours.
        check("192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.7, "], "10.0.0.1");
        check("10.0.0.1", &["192.0.2.7, ü"], "10.0.0.1");
        // What a client sent itself does not hide what the proxy added.
        check("10.0.0.1", &["ü, 192.0.2.7"], "192.0.2.7");
        assert_eq!(
            Proxies::default().client(ip("10.0.0.1"), &headers(&[("x-forwarded-for", "192.0.2.7")])),
            ip("10.0.0.1")
        );
    }

    #[test]
    fn a_proxy_of_ours_names_users_and_their_roles() {
        let proxies = Proxies::new(&settings()).unwrap();
        let check = |peer: &str, pairs: &[(&'static str, &'static str)], expected: Option<(&str, Role)>| {
            let found = proxies.signed_on(ip(peer), &headers(pairs));
            let found = found.as_ref().map(|found| (found.user.as_str(), found.role));
            assert_eq!(found, expected, "{peer} {pairs:?}");
        };
        let user = ("x-forwarded-user", "li@example.com");
        check("10.0.0.1", &[user], Some(("li@example.com", Role::Guest)));
        check(
            "10.0.0.1",
            &[user, ("x-forwarded-groups", "all, cn=mq ,other")],
            Some(("li@example.com", Role::Operator)),
        );
        check("10.0.0.1", &[user, ("x-forwarded-groups", "sre,all")], Some(("li@example.com", Role::Admin)));
        check("10.0.0.1", &[user, ("x-forwarded-groups", "admin")], Some(("li@example.com", Role::Guest)));
        check("10.0.0.1", &[user, ("x-forwarded-groups", "")], Some(("li@example.com", Role::Guest)));
        check("192.0.2.1", &[user, ("x-forwarded-groups", "sre")], None);
        check("10.0.0.1", &[("x-forwarded-groups", "sre")], None);
        check("10.0.0.1", &[("x-forwarded-user", " ")], None);
        check("10.0.0.1", &[("x-forwarded-user", "ü")], None);
        // A client's own beside that of the proxy.
        check("10.0.0.1", &[user, ("x-forwarded-user", "admin")], None);
        check("10.0.0.1", &[user, ("x-forwarded-groups", "sre"), ("x-forwarded-groups", "all")], None);
    }

    #[test]
    fn without_a_mapping_the_header_names_roles() {
        let told = ProxySettings { roles: Vec::new(), default_role: Some("viewer".into()), ..settings() };
        let proxies = Proxies::new(&told).unwrap();
        let role = |groups: &'static str| {
            let pairs = [("x-forwarded-user", "li"), ("x-forwarded-groups", groups)];
            proxies.signed_on(ip("10.0.0.1"), &headers(&pairs)).unwrap().role
        };
        assert_eq!((role("operator"), role("root"), role("guest")), (Role::Operator, Role::Viewer, Role::Viewer));
    }
}

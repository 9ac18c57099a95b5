//! What `ip=` means.
//!
//! Linux's spelling, so that a line from another machine's boot loader works, and a
//! short one for people: `10.0.0.5/24,10.0.0.1`. Pure: text in, addresses out.

use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// How the node gets its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Not at all: no management network.
    Off,
    /// From a server.
    Dhcp,
    /// It is this one.
    Static(Fixed),
}

/// An address that the operator has chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Address and network.
    pub cidr: Ipv4Cidr,
    /// The way to other networks.
    pub router: Option<Ipv4Address>,
    /// Who knows names.
    pub dns: Option<Ipv4Address>,
}

/// What is wrong with an `ip=`.
pub const WHAT: &str = "ip is dhcp, off, ADDRESS/LENGTH[,ROUTER[,DNS]], or Linux's \
                        ADDRESS::ROUTER:NETMASK";

impl Wanted {
    /// Reads the value of `ip=`; an empty one is the default.
    #[cold]
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "" | "dhcp" | "on" | "any" => Some(Self::Dhcp),
            "off" | "none" => Some(Self::Off),
            _ if value.contains(':') => linux(value),
            _ => short(value),
        }
    }
}

/// `ADDRESS/LENGTH[,ROUTER[,DNS]]`.
fn short(value: &str) -> Option<Wanted> {
    let mut parts = value.split(',');
    let (address, length) = parts.next()?.split_once('/')?;
    let length: u8 = length.parse().ok().filter(|length| *length <= 32)?;
    let mut optional = || match parts.next() {
        None | Some("") => Some(None),
        Some(text) => text.parse().ok().map(Some),
    };
    let (router, dns) = (optional()?, optional()?);
    fixed(address.parse().ok()?, length, router, dns).filter(|_| parts.next().is_none())
}

/// `CLIENT:SERVER:ROUTER:NETMASK:HOSTNAME:DEVICE:AUTOCONF:DNS0:...` (Linux,
/// admin-guide/nfs/nfsroot.rst). What we have no use for may be anything.
fn linux(value: &str) -> Option<Wanted> {
    let mut fields = value.split(':');
    let mut field = || fields.next().unwrap_or("");
    let (client, _, router, netmask) = (field(), field(), field(), field());
    let (_, _, autoconf, dns) = (field(), field(), field(), field());
    if client.is_empty() {
        return match autoconf {
            "" | "dhcp" | "on" | "any" => Some(Wanted::Dhcp),
            "off" | "none" => Some(Wanted::Off),
            _ => None,
        };
    }
    let optional = |text: &str| match text {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let mask: u32 = match netmask {
        "" => return None,
        netmask => netmask.parse::<Ipv4Address>().ok()?.to_bits(),
    };
    let length = mask.leading_ones();
    if mask.count_ones() != length {
        return None;
    }
    fixed(
        client.parse().ok()?,
        length as u8,
        optional(router)?,
        optional(dns)?,
    )
}

fn fixed(
    address: Ipv4Address,
    length: u8,
    router: Option<Ipv4Address>,
    dns: Option<Ipv4Address>,
) -> Option<Wanted> {
    let is_host = |address: &Ipv4Address| {
        !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
    };
    let all = [Some(address), router, dns];
    let are_hosts = all.iter().flatten().all(is_host);
    are_hosts.then(|| {
        Wanted::Static(Fixed {
            cidr: Ipv4Cidr::new(address, length),
            router,
            dns,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<(Ipv4Cidr, Option<Ipv4Address>, Option<Ipv4Address>)> {
        match Wanted::parse(value) {
            Some(Wanted::Static(fixed)) => Some((fixed.cidr, fixed.router, fixed.dns)),
            _ => None,
        }
    }

    #[test]
    fn both_spellings_mean_the_same() {
        let cidr = Ipv4Cidr::new(Ipv4Address::new(10, 0, 0, 5), 24);
        let router = Some(Ipv4Address::new(10, 0, 0, 1));
        let dns = Some(Ipv4Address::new(10, 0, 0, 2));
        assert_eq!(parsed("10.0.0.5/24"), Some((cidr, None, None)));
        assert_eq!(parsed("10.0.0.5/24,10.0.0.1"), Some((cidr, router, None)));
        assert_eq!(parsed("10.0.0.5/24,,10.0.0.2"), Some((cidr, None, dns)));
        assert_eq!(
            parsed("10.0.0.5::10.0.0.1:255.255.255.0:name:eth0:off:10.0.0.2"),
            Some((cidr, router, dns))
        );
        assert_eq!(parsed("10.0.0.5:::255.255.255.0"), Some((cidr, None, None)));
    }

    #[test]
    fn words_mean_what_they_mean_to_linux() {
        for word in ["", "dhcp", "on", "any", ":::::eth0:dhcp"] {
            assert_eq!(Wanted::parse(word), Some(Wanted::Dhcp), "{word}");
        }
        for word in ["off", "none", "::::::off"] {
            assert_eq!(Wanted::parse(word), Some(Wanted::Off), "{word}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_host_is_refused() {
        for bad in [
            "10.0.0.5",
            "10.0.0.5/33",
            "10.0.0.256/24",
            "0.0.0.0/8",
            "224.0.0.1/4",
            "255.255.255.255/32",
            "10.0.0.5/24,x",
            "10.0.0.5/24,10.0.0.1,10.0.0.2,10.0.0.3",
            "10.0.0.5:::255.0.255.0",
            "10.0.0.5:::",
            "::::::bootp",
            "maybe",
        ] {
            assert_eq!(Wanted::parse(bad), None, "{bad}");
        }
    }
}

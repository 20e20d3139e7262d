//! Who may connect: a list of addresses and networks.
//!
//! Owns the meaning of `AllowedIPAddresses`. Knows nothing of sockets.

use std::net::IpAddr;

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<(IpAddr, u8)>);

impl AllowList {
    /// Reads a comma-separated list of addresses and networks; empty allows everybody.
    pub fn parse(text: &str) -> Result<Self, String> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.map(Self::entry).collect::<Result<_, _>>().map(Self)
    }

    fn entry(text: &str) -> Result<(IpAddr, u8), String> {
        let wrong = || {
            format!(
                "{text:?} is no address or network; allowed: addresses such as 10.1.2.3 and networks such as 10.2.0.0/16"
            )
        };
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most {
            Err(wrong())
        } else {
            Ok((address, bits))
        }
    }

    /// Whether this peer may connect.
    pub fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|(network, bits)| same_network(*network, peer, *bits))
    }
}

fn same_network(network: IpAddr, peer: IpAddr, bits: u8) -> bool {
    match (network, peer) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = u32::from(a) ^ u32::from(b);
            differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differ = u128::from(a) ^ u128::from(b);
            differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allow_list_knows_addresses_and_networks() {
        let list = AllowList::parse("10.1.2.3, 10.2.0.0/16,fd00::/8").unwrap();
        for (peer, allowed) in [
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("10.2.200.1", true),
            ("10.3.0.1", false),
            ("::ffff:10.2.0.1", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(list.allows(peer.parse().unwrap()), allowed, "{peer}");
        }
        assert!(
            AllowList::parse("")
                .unwrap()
                .allows("8.8.8.8".parse().unwrap())
        );
        assert!(
            AllowList::parse("0.0.0.0/0")
                .unwrap()
                .allows("8.8.8.8".parse().unwrap())
        );
        for wrong in ["10.1.2", "10.0.0.0/33", "ward-pc", "!10.1.2.3"] {
            assert!(AllowList::parse(wrong).is_err(), "{wrong}");
        }
    }
}

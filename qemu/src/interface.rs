//! An Ethernet interface of this machine, for our own initiator: raw frames.
//!
//! A packet socket (packet(7)) bound to one interface. It takes root, or the
//! capability CAP_NET_RAW, so every refusal says which of the usual reasons it is.

use crate::network::Mac;
use crate::{Failure, OrFail};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Bytes of the longest frame that is taken whole.
const FRAME_BYTES_MAX: usize = 65_536;

/// See the module's header.
pub struct Interface {
    socket: OwnedFd,
    mac: Mac,
    buffer: Vec<u8>,
}

impl Interface {
    /// Opens the interface called `name`.
    pub fn open(name: &str) -> Result<Self, Failure> {
        let all = all()?;
        let Some((address, is_up)) = all.get(name) else {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            return Err(Failure::new(format!("there is no interface {name}"))
                .with(format!("there are: {}", names.join(", "))));
        };
        if !is_up {
            return Err(Failure::new(format!(
                "{name} is down: ip link set {name} up"
            )));
        }
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        );
        let socket = match socket {
            Err(Errno::EPERM | Errno::EACCES) => {
                return Err(Failure::new(
                    "raw frames take root (or the capability CAP_NET_RAW)",
                ));
            }
            socket => socket.or_fail("no packet socket")?,
        };
        bind(socket.as_raw_fd(), address).or_fail(format_args!("cannot listen on {name}"))?;
        let mac = address.addr().map(Mac).unwrap_or(Mac([0; 6]));
        Ok(Self {
            socket,
            mac,
            buffer: vec![0; FRAME_BYTES_MAX],
        })
    }

    /// Its own address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends a frame exactly as it is. One that is refused is lost, as on any wire.
    pub fn send(&self, frame: &[u8]) {
        let _ = send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
    }

    /// The next frame, or `None` when none came within `within`.
    pub fn receive(&mut self, within: Duration) -> Option<Vec<u8>> {
        // No time at all would be taken for all the time there is.
        let patience = within.as_micros().clamp(1000, i64::MAX as u128) as i64;
        let patience = TimeVal::microseconds(patience);
        setsockopt(&self.socket, sockopt::ReceiveTimeout, &patience).ok()?;
        let socket = self.socket.as_raw_fd();
        let bytes = recv(socket, &mut self.buffer, MsgFlags::empty()).ok()?;
        Some(self.buffer[..bytes].to_vec())
    }
}

/// Every interface with an Ethernet address, and whether it is up.
fn all() -> Result<BTreeMap<String, (LinkAddr, bool)>, Failure> {
    let all = getifaddrs().or_fail("the interfaces can not be listed")?;
    Ok(all
        .filter_map(|one| {
            let address = *one.address.as_ref()?.as_link_addr()?;
            let is_up = one.flags.contains(InterfaceFlags::IFF_UP);
            Some((one.interface_name, (address, is_up)))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_refused_with_those_that_are() {
        let failure = Interface::open("no-such-one").err().expect("no such one");
        assert_eq!(failure.sentence(), "there is no interface no-such-one");
        assert!(failure.to_string().contains("there are: "), "{failure}");
    }
}

//! Tests anti-spoofing: a pod sends a packet with another machine's source address (S46).
//!
//! Input: the blueprint. Output: per address family one [`ForgedPacket`] and how it ended.
//! For example, `web/frontend` sends a UDP packet to `backend/db` with the address of
//! `backend/api`. The only good result is a drop at the sender's own interface with the reason
//! `spoofed-source`; a drop for want of a rule would hide that the check is missing.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use etherparse::{PacketBuilder, err::packet::BuildWriteError};
use policy_common::drops::Reason;
use policy_core::model::{Family, Protocol};
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use crate::{
    blueprint::{Blueprint, Machine},
    drop_matcher::{DropMatcher, PortLease},
    netns::{self, Namespace},
    network::Network,
    socket,
};

/// How long to wait for the packet or for its drop record.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for the packet after its drop record has arrived.
const TIMEOUT_AFTER_DROP: Duration = Duration::from_millis(100);

/// Time to live of the packet: more hops than a lab has.
const HOP_LIMIT: u8 = 64;

/// Why no forged packet could be sent.
#[derive(Debug, thiserror::Error)]
pub enum AntiSpoofingError {
    /// A namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] netns::NetnsError),
    /// A socket failed.
    #[error("cannot send a packet with a forged source address")]
    Socket(#[from] io::Error),
    /// The packet could not be encoded.
    #[error("cannot encode a packet with a forged source address")]
    Encode(#[from] BuildWriteError),
}

/// A packet with a forged source address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgedPacket {
    /// The pod that sends it.
    pub sender: Machine,
    /// Its source address, which another machine has.
    pub source: IpAddr,
    /// The machine that it is sent to.
    pub receiver: Machine,
    /// The address of that machine.
    pub destination: IpAddr,
}

impl fmt::Display for ForgedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, source, receiver, destination } = self;
        write!(f, "{sender}, sending as {source} to {receiver} ({destination})")
    }
}

/// How a forged packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgedPacketResult {
    /// The receiver received it.
    Received,
    /// It was dropped for this reason.
    Dropped(Reason),
    /// It was neither received nor recorded as dropped.
    Lost,
}

/// One packet per address family of the pods: from a pod, with the address of a second machine, to
/// a third one.
///
/// Pods come first; where there are fewer than three, nodes and hosts take their places.
#[must_use]
pub fn choose(blueprint: &Blueprint) -> Vec<ForgedPacket> {
    let families = [Family::Ipv4, Family::Ipv6];
    families.into_iter().filter_map(|family| choose_in_family(blueprint, family)).collect()
}

fn choose_in_family(blueprint: &Blueprint, family: Family) -> Option<ForgedPacket> {
    let machines = || blueprint.owners.iter().filter(move |(at, _)| Family::of(**at) == family);
    let is_pod = |machine: &Machine| matches!(machine, Machine::Pod(_));
    let (_, sender) = machines().find(|(_, machine)| is_pod(machine))?;
    let mut others: Vec<_> = machines().filter(|(_, machine)| *machine != sender).collect();
    others.sort_by_key(|(_, machine)| !is_pod(machine));
    let (source, owner) = others.first()?;
    let (destination, receiver) =
        others.iter().find(|(_, machine)| machine != owner).or(others.first())?;
    Some(ForgedPacket {
        sender: sender.clone(),
        source: **source,
        receiver: (*receiver).clone(),
        destination: **destination,
    })
}

/// Sends a forged packet and waits for it at the receiver and among the drop records.
///
/// # Errors
///
/// Where a socket cannot be opened.
pub async fn send(
    packet: &ForgedPacket,
    network: &Network,
    drops: &Arc<DropMatcher>,
) -> Result<ForgedPacketResult, AntiSpoofingError> {
    let machines = &network.machines;
    let ends = (machines.get(&packet.sender), machines.get(&packet.receiver));
    let (Some(sender), Some(receiver)) = ends else {
        return Ok(ForgedPacketResult::Lost);
    };
    let addresses = BTreeSet::from([packet.source, packet.destination]);
    let family = Family::of(packet.destination);
    let Some(lease) = drops.lease(Protocol::Udp, family, addresses) else {
        return Ok(ForgedPacketResult::Lost);
    };
    // No server has a leased port, so it is free at the receiver too.
    let destination = SocketAddr::new(packet.destination, lease.port);
    let source = SocketAddr::new(packet.source, lease.port);
    let listener = receiver.run(|| socket::udp(destination).map_err(AntiSpoofingError::from))?;
    send_raw(sender, source, destination)?;
    Ok(wait(&listener, source, &lease).await)
}

async fn wait(listener: &UdpSocket, source: SocketAddr, lease: &PortLease) -> ForgedPacketResult {
    let receive = async {
        let mut buffer = [0; 64];
        loop {
            match listener.recv_from(&mut buffer).await {
                Ok((_, from)) if from.port() == source.port() => break,
                Ok(_) | Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::pin!(receive);
    tokio::select! {
        () = &mut receive => ForgedPacketResult::Received,
        reason = lease.dropped() => match timeout(TIMEOUT_AFTER_DROP, &mut receive).await {
            Ok(()) => ForgedPacketResult::Received,
            Err(_elapsed) => ForgedPacketResult::Dropped(reason),
        },
        () = sleep(TIMEOUT) => ForgedPacketResult::Lost,
    }
}

/// Sends a UDP packet through a raw socket, which leaves the IP header to its user.
fn send_raw(
    sender: &Namespace,
    source: SocketAddr,
    to: SocketAddr,
) -> Result<(), AntiSpoofingError> {
    /// `IPPROTO_RAW`: the buffer holds the IP header, in both families.
    const RAW: i32 = 255;
    let packet = udp_packet(source, to, b"forged")?;
    sender.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(IpProtocol::from(RAW)))?;
        // A raw IPv6 socket takes the port of an address for a protocol number.
        let sent = socket.send_to(&packet, &SocketAddr::new(to.ip(), 0).into())?;
        debug_assert_eq!(sent, packet.len());
        Ok(())
    })
}

/// Encodes a UDP packet with its IP header; an IPv4 end is IPv4-mapped where the other is IPv6.
fn udp_packet(
    source: SocketAddr,
    to: SocketAddr,
    payload: &[u8],
) -> Result<Vec<u8>, BuildWriteError> {
    let ip = match (source.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(to)) => {
            PacketBuilder::ipv4(source.octets(), to.octets(), HOP_LIMIT)
        }
        (source, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            PacketBuilder::ipv6(octets(source), octets(to), HOP_LIMIT)
        }
    };
    let mut packet = Vec::new();
    ip.udp(source.port(), to.port()).write(&mut packet, payload)?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_long_as_it_says() -> Result<(), BuildWriteError> {
        let from: SocketAddr = "10.0.0.1:5".parse().expect("a literal");
        let to: SocketAddr = "10.0.0.2:9".parse().expect("a literal");
        let packet = udp_packet(from, to, b"abc")?;
        assert_eq!(packet.len(), 31);
        assert_eq!(packet[2..4], [0, 31]);
        assert_eq!(packet[20..26], [0, 5, 0, 9, 0, 11]);
        Ok(())
    }
}

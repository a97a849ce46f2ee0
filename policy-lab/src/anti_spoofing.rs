//! The probe that lies about its source: it must be dropped at the liar, for that reason (S46).

mod packet;

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use policy_common::drops::Reason;
use policy_core::model::{Family, Protocol};
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use super::{
    blueprint::{Blueprint, Machine},
    drop_matcher::{Claim, Ledger},
    netns::{self, Namespace},
    network::Network,
    socket,
};

/// How long to wait for the packet to arrive, or for its drop.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a dropped packet is waited for all the same.
const GRACE: Duration = Duration::from_millis(100);

/// Why the lie could not be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace.
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    /// A socket.
    #[error("cannot send a packet with a forged source address")]
    Socket(#[from] io::Error),
}

/// Who lies to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lie {
    /// The pod that sends.
    pub liar: Machine,
    /// Whose address it puts into the packet.
    pub victim: IpAddr,
    /// Who receives.
    pub receiver: Machine,
    /// At which address.
    pub destination: IpAddr,
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { liar, victim, receiver, destination } = self;
        write!(f, "{liar}, sending as {victim} to {receiver} ({destination})")
    }
}

/// What became of a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver has it.
    Believed,
    /// It was dropped, and for this reason.
    Dropped(Reason),
    /// It neither arrived nor was a drop counted.
    Vanished,
}

/// One lie per family that some pod has: from a pod, as another one, to a third.
///
/// Where there are not as many pods, other machines stand in; their addresses are as false.
#[must_use]
pub fn choose(blueprint: &Blueprint) -> Vec<Lie> {
    [Family::Ipv4, Family::Ipv6].into_iter().filter_map(|family| lie(blueprint, family)).collect()
}

fn lie(blueprint: &Blueprint, family: Family) -> Option<Lie> {
    let of_family = || blueprint.owners.iter().filter(move |(at, _)| Family::of(**at) == family);
    let is_pod = |machine: &Machine| matches!(machine, Machine::Pod(_));
    let (_, liar) = of_family().find(|(_, machine)| is_pod(machine))?;
    let mut others: Vec<_> = of_family().filter(|(_, machine)| *machine != liar).collect();
    others.sort_by_key(|(_, machine)| !is_pod(machine));
    let (victim, owner) = others.first()?;
    let (destination, receiver) =
        others.iter().find(|(_, machine)| machine != owner).or(others.first())?;
    Some(Lie {
        liar: liar.clone(),
        victim: **victim,
        receiver: (*receiver).clone(),
        destination: **destination,
    })
}

/// Tells a lie and watches for it at the far end and in the ledger.
///
/// # Errors
///
/// Where a socket cannot be had.
pub async fn tell(lie: &Lie, network: &Network, ledger: &Arc<Ledger>) -> Result<Fate, Error> {
    let (Some(liar), Some(receiver)) =
        (network.machines.get(&lie.liar), network.machines.get(&lie.receiver))
    else {
        return Ok(Fate::Vanished);
    };
    let addresses = BTreeSet::from([lie.victim, lie.destination]);
    let family = Family::of(lie.destination);
    let Some(claim) = ledger.claim(Protocol::Udp, family, addresses) else {
        return Ok(Fate::Vanished);
    };
    // The same port at both ends: nothing serves it.
    let destination = SocketAddr::new(lie.destination, claim.port);
    let source = SocketAddr::new(lie.victim, claim.port);
    let ear = receiver.run(|| socket::datagram(destination).map_err(Error::from))?;
    liar_sends(liar, source, destination)?;
    Ok(watch(&ear, source, &claim).await)
}

async fn watch(ear: &UdpSocket, source: SocketAddr, claim: &Claim) -> Fate {
    let hear = async {
        let mut buffer = [0; 64];
        loop {
            match ear.recv_from(&mut buffer).await {
                Ok((_, from)) if from.port() == source.port() => break,
                Ok(_) | Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::pin!(hear);
    tokio::select! {
        () = &mut hear => Fate::Believed,
        reason = claim.dropped() => match timeout(GRACE, &mut hear).await {
            Ok(()) => Fate::Believed,
            Err(_elapsed) => Fate::Dropped(reason),
        },
        () = sleep(PATIENCE) => Fate::Vanished,
    }
}

/// Sends the packet by a raw socket, whose user writes the IP header.
fn liar_sends(liar: &Namespace, source: SocketAddr, to: SocketAddr) -> Result<(), Error> {
    /// `IPPROTO_RAW`: the header is in the buffer, in both families.
    const RAW: i32 = 255;
    let packet = packet::udp(source, to, b"a lie");
    liar.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(IpProtocol::from(RAW)))?;
        // IPv6 takes a port here for a protocol number.
        let sent = socket.send_to(&packet, &SocketAddr::new(to.ip(), 0).into())?;
        debug_assert_eq!(sent, packet.len());
        Ok(())
    })
}

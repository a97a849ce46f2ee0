//! What listens in the lab: servers that tell who they are, so that a wrong translation shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use policy_core::model::Protocol;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};

use super::{
    blueprint::{Blueprint, Machine},
    netns,
    network::Network,
    sctp, socket,
};

/// Bytes of a datagram that are sent back; a probe's token is shorter.
const ECHO: usize = 64;

/// How long a server waits for a client to close.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its namespace.
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    /// Its socket.
    #[error("cannot serve {protocol} {address} at {machine}")]
    Listen {
        /// Where.
        machine: Machine,
        /// At which address.
        address: SocketAddr,
        /// By which protocol.
        protocol: Protocol,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

/// A place that is served.
pub type Served = BTreeSet<(SocketAddr, Protocol)>;

/// What the server at `address` of `machine` says.
#[must_use]
pub fn name_of(machine: &Machine, address: SocketAddr) -> String {
    format!("{machine} {address}")
}

/// Starts a server at every place of `served` that has an owner; they end with the set.
///
/// # Errors
///
/// Where a socket cannot be had.
pub fn start(network: &Network, plan: &Blueprint, served: &Served) -> Result<JoinSet<()>, Error> {
    let mut by_machine = BTreeMap::<&Machine, Vec<(SocketAddr, Protocol)>>::new();
    for (address, protocol) in served {
        if let Some(machine) = plan.owners.get(&address.ip()) {
            by_machine.entry(machine).or_default().push((*address, *protocol));
        }
    }
    let mut servers = JoinSet::new();
    for (machine, places) in by_machine {
        let Some(namespace) = network.machines.get(machine) else {
            continue;
        };
        for socket in namespace.run(|| listen(machine, &places))? {
            match socket {
                Socket::Tcp(listener, name) => servers.spawn(serve_tcp(listener, name)),
                Socket::Udp(socket, name) => servers.spawn(serve_udp(socket, name)),
                Socket::Sctp(raw, names) => servers.spawn(sctp::serve(raw, names)),
            };
        }
    }
    Ok(servers)
}

/// A socket and what its server says.
enum Socket {
    Tcp(TcpListener, String),
    Udp(UdpSocket, String),
    /// A raw one, of all ports of an address.
    Sctp(UdpSocket, BTreeMap<u16, String>),
}

fn listen(machine: &Machine, places: &[(SocketAddr, Protocol)]) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::new();
    let mut by_sctp = BTreeMap::<IpAddr, BTreeMap<u16, String>>::new();
    let open = |address: SocketAddr, protocol, opened: io::Result<Socket>| {
        let machine = machine.clone();
        opened.map_err(|source| Error::Listen { machine, address, protocol, source })
    };
    for (address, protocol) in places {
        let name = name_of(machine, *address);
        let opened = match protocol {
            Protocol::Tcp => socket::listener(*address).map(|socket| Socket::Tcp(socket, name)),
            Protocol::Udp => socket::datagram(*address).map(|socket| Socket::Udp(socket, name)),
            Protocol::Sctp => {
                by_sctp.entry(address.ip()).or_default().insert(address.port(), name);
                continue;
            }
        };
        sockets.push(open(*address, *protocol, opened)?);
    }
    for (address, names) in by_sctp {
        let opened = socket::sctp(address).map(|raw| Socket::Sctp(raw, names));
        sockets.push(open(SocketAddr::new(address, 0), Protocol::Sctp, opened)?);
    }
    Ok(sockets)
}

/// Says its name to whoever connects.
async fn serve_tcp(listener: TcpListener, name: String) {
    let mut open = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            open.spawn(greet(stream, name.clone()));
        } else {
            // Out of descriptors, or the client is gone already: others may still come.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while open.try_join_next().is_some() {}
    }
}

/// A client that goes away early is its own affair: it notices.
async fn greet(mut stream: TcpStream, name: String) {
    let _ = timeout(PATIENCE, async {
        stream.write_all(name.as_bytes()).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await
    })
    .await;
}

/// Sends each datagram back with its name behind.
async fn serve_udp(socket: UdpSocket, name: String) {
    let mut buffer = [0; ECHO];
    loop {
        // An error here is an ICMP answer to an earlier reply; the next datagram may be good.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let mut answer = buffer[..length].to_vec();
        answer.extend_from_slice(name.as_bytes());
        let _ = socket.send_to(&answer, client).await;
    }
}

//! The servers of a lab: each responds with its own name, so that a wrong translation is noticed.
//!
//! Input: the addresses and ports that probes connect to. Output: a set of tasks, one per socket.
//! A server's name is its machine and address, such as `backend/api 10.244.1.10:8080`.

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

use crate::{
    blueprint::{Blueprint, Machine},
    netns,
    network::Network,
    sctp, socket,
};

/// Bytes of a datagram that a server echoes; a probe's token is shorter.
const ECHO_LIMIT: usize = 64;

/// How long a server waits for a client to close its connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServersError {
    /// The machine's namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] netns::NetnsError),
    /// The socket could not be opened.
    #[error("cannot serve {protocol} {address} at {machine}")]
    Listen {
        /// The machine.
        machine: Machine,
        /// The address.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// The error of the socket.
        #[source]
        source: io::Error,
    },
}

/// Addresses and ports with a server.
pub type ServedPorts = BTreeSet<(SocketAddr, Protocol)>;

/// The name that the server at `address` of `machine` responds with.
#[must_use]
pub fn name_of(machine: &Machine, address: SocketAddr) -> String {
    format!("{machine} {address}")
}

/// Starts a server at each address of `ports` that a machine has; dropping the set ends them.
///
/// # Errors
///
/// Where a socket cannot be opened.
pub fn start(
    network: &Network,
    plan: &Blueprint,
    ports: &ServedPorts,
) -> Result<JoinSet<()>, ServersError> {
    let mut by_machine = BTreeMap::<&Machine, Vec<(SocketAddr, Protocol)>>::new();
    for (address, protocol) in ports {
        if let Some(machine) = plan.owners.get(&address.ip()) {
            by_machine.entry(machine).or_default().push((*address, *protocol));
        }
    }
    let mut servers = JoinSet::new();
    for (machine, ports) in by_machine {
        let Some(namespace) = network.machines.get(machine) else {
            continue;
        };
        for socket in namespace.run(|| listen(machine, &ports))? {
            match socket {
                Socket::Tcp(listener, name) => servers.spawn(serve_tcp(listener, name)),
                Socket::Udp(socket, name) => servers.spawn(serve_udp(socket, name)),
                Socket::Sctp(raw, names) => servers.spawn(sctp::serve(raw, names)),
            };
        }
    }
    Ok(servers)
}

/// A socket and the name of its server.
enum Socket {
    Tcp(TcpListener, String),
    Udp(UdpSocket, String),
    /// One raw socket receives the packets of all ports of an address.
    Sctp(UdpSocket, BTreeMap<u16, String>),
}

fn listen(
    machine: &Machine,
    ports: &[(SocketAddr, Protocol)],
) -> Result<Vec<Socket>, ServersError> {
    let mut sockets = Vec::new();
    let mut by_sctp_address = BTreeMap::<IpAddr, BTreeMap<u16, String>>::new();
    let opened = |address: SocketAddr, protocol, socket: io::Result<Socket>| {
        let machine = machine.clone();
        socket.map_err(|source| ServersError::Listen { machine, address, protocol, source })
    };
    for (address, protocol) in ports {
        let name = name_of(machine, *address);
        let socket = match protocol {
            Protocol::Tcp => socket::tcp_listener(*address).map(|tcp| Socket::Tcp(tcp, name)),
            Protocol::Udp => socket::udp(*address).map(|udp| Socket::Udp(udp, name)),
            Protocol::Sctp => {
                by_sctp_address.entry(address.ip()).or_default().insert(address.port(), name);
                continue;
            }
        };
        sockets.push(opened(*address, *protocol, socket)?);
    }
    for (address, names) in by_sctp_address {
        let socket = socket::sctp(address).map(|raw| Socket::Sctp(raw, names));
        sockets.push(opened(SocketAddr::new(address, 0), Protocol::Sctp, socket)?);
    }
    Ok(sockets)
}

/// Sends the name to each client that connects.
async fn serve_tcp(listener: TcpListener, name: String) {
    let mut clients = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            clients.spawn(send_name(stream, name.clone()));
        } else {
            // No descriptor is free, or the client is already gone; later clients may succeed.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while clients.try_join_next().is_some() {}
    }
}

/// Errors are left to the client: the probe reports them.
async fn send_name(mut stream: TcpStream, name: String) {
    let _ = timeout(CLOSE_TIMEOUT, async {
        stream.write_all(name.as_bytes()).await?;
        stream.shutdown().await?;
        stream.read_to_end(&mut Vec::new()).await
    })
    .await;
}

/// Echoes each datagram with the name appended.
async fn serve_udp(socket: UdpSocket, name: String) {
    let mut buffer = [0; ECHO_LIMIT];
    loop {
        // An error is an ICMP error caused by an earlier response; the next datagram may succeed.
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let mut response = buffer[..length].to_vec();
        response.extend_from_slice(name.as_bytes());
        let _ = socket.send_to(&response, client).await;
    }
}

//! One connection attempt on the wire.
//!
//! Input: where to connect from and to, and which responses the right servers give.
//! Output: a [`ConnectionResult`]. The lab never concludes from silence that a packet was denied: a
//! deny needs a drop record of this very connection.
//!
//! ```text
//! response   drop record   result
//! right      any           Answered     (one packet of several may have been dropped)
//! wrong      any           WrongServer  (a Service was translated to the wrong backend)
//! none       NoRule        Dropped(NoRule)
//! none       none          Lost
//! ```

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use policy_agent::chain::chain;
use policy_common::drops::Reason;
use policy_core::model::{Family, Protocol};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, UdpSocket},
    time::{sleep, timeout},
};

use crate::{
    drop_matcher::{DropMatcher, PortLease},
    netns::{self, Namespace},
    sctp, socket,
};

/// How long to wait for a response: long enough for the second retransmission of a SYN.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// How long to wait for a response after a drop record has arrived.
const TIMEOUT_AFTER_DROP: Duration = Duration::from_millis(50);

/// Intervals between retransmissions of a datagram.
const RETRANSMIT_INTERVALS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Size of the receive buffer in bytes; a response has headers, a token, a name and an address.
const RECEIVE_BUFFER: usize = 1024;

/// A connection to open.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Network namespace of the client.
    pub namespace: Namespace,
    /// Source address; `None` lets the kernel choose, as for a process of a node.
    pub source: Option<IpAddr>,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// Addresses that the packets may carry, those after translation included.
    pub addresses: BTreeSet<IpAddr>,
    /// The names that the right servers respond with.
    pub expected_names: BTreeSet<String>,
}

/// How a connection attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionResult {
    /// The right server responded.
    Answered,
    /// A drop was recorded, and no response came.
    Dropped(Reason),
    /// The connection was refused by a TCP reset or an ICMP error.
    Refused {
        /// A drop that was recorded too: the agent may have refused the connection itself (S59).
        dropped: Option<Reason>,
    },
    /// Another server responded.
    WrongServer {
        /// The name that it responded with.
        name: String,
    },
    /// Neither a response nor a drop record.
    Lost,
    /// The client could not send.
    Failed {
        /// The error and its causes.
        error: String,
    },
}

/// Opens a connection from a source port of its own and waits for its result.
pub async fn connect(connection: &Connection, drops: &Arc<DropMatcher>) -> ConnectionResult {
    let family = Family::of(connection.destination.ip());
    let Some(lease) = drops.lease(connection.protocol, family, connection.addresses.clone()) else {
        return ConnectionResult::Failed { error: "every source port is in use".to_owned() };
    };
    let client = match Client::open(connection, &lease) {
        Ok(client) => client,
        Err(error) => return ConnectionResult::Failed { error: chain(&error) },
    };
    let exchange = client.exchange(connection.destination, lease.port);
    tokio::pin!(exchange);
    let response = tokio::select! {
        response = timeout(TIMEOUT, &mut exchange) => response.ok(),
        _ = lease.dropped() => timeout(TIMEOUT_AFTER_DROP, &mut exchange).await.ok(),
    };
    if lease.drop_reason().is_none() && response.as_ref().is_some_and(is_refusal) {
        // The reply to a dropped packet may be faster than the record of its drop.
        let _ = timeout(TIMEOUT_AFTER_DROP, lease.dropped()).await;
    }
    conclude(&connection.expected_names, lease.drop_reason(), response)
}

fn is_refusal(response: &io::Result<String>) -> bool {
    response.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Concludes the result. A response outweighs a drop record: some packet got through.
fn conclude(
    expected_names: &BTreeSet<String>,
    drop: Option<Reason>,
    response: Option<io::Result<String>>,
) -> ConnectionResult {
    match (response, drop) {
        (Some(Ok(name)), _) if expected_names.contains(&name) => ConnectionResult::Answered,
        (Some(Ok(name)), _) => ConnectionResult::WrongServer { name },
        (Some(response), dropped) if is_refusal(&response) => ConnectionResult::Refused { dropped },
        (_, Some(reason)) => ConnectionResult::Dropped(reason),
        (Some(Err(error)), None) => ConnectionResult::Failed { error: error.to_string() },
        (None, None) => ConnectionResult::Lost,
    }
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Namespace(#[from] netns::NetnsError),
    #[error("cannot open a socket")]
    Socket(#[from] io::Error),
}

/// The client's socket, bound to the leased source port.
enum Client {
    Tcp(TcpSocket),
    Udp(UdpSocket),
    /// A raw IP socket.
    Sctp(UdpSocket),
}

impl Client {
    fn open(connection: &Connection, lease: &PortLease) -> Result<Self, OpenError> {
        let unspecified = match connection.destination {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let source = SocketAddr::new(connection.source.unwrap_or(unspecified), lease.port);
        connection.namespace.run(|| {
            Ok(match connection.protocol {
                Protocol::Tcp => Self::Tcp(socket::tcp_client(source)?),
                Protocol::Udp => Self::Udp(socket::udp(source)?),
                Protocol::Sctp => Self::Sctp(socket::sctp(source.ip())?),
            })
        })
    }

    /// Connects and returns the name that the server responds with.
    async fn exchange(self, destination: SocketAddr, port: u16) -> io::Result<String> {
        match self {
            Self::Tcp(socket) => {
                let mut stream = socket.connect(destination).await?;
                let mut name = String::new();
                stream.read_to_string(&mut name).await?;
                Ok(name)
            }
            Self::Udp(socket) => {
                socket.connect(destination).await?;
                // The server echoes the token, so a late response to an earlier probe of this
                // port is not mistaken for this one's.
                let token = format!("{port} asks ");
                let name_in = |response: &[u8]| {
                    let name = response.strip_prefix(token.as_bytes())?;
                    Some(String::from_utf8_lossy(name).into_owned())
                };
                exchange_datagrams(&socket, token.as_bytes(), name_in).await
            }
            Self::Sctp(raw) => {
                // A raw IPv6 socket takes the port of an address for a protocol number.
                raw.connect(SocketAddr::new(destination.ip(), 0)).await?;
                let (ipv4, server_port) = (destination.is_ipv4(), destination.port());
                let name_in = |packet: &[u8]| sctp::name_in(packet, ipv4, port, server_port);
                exchange_datagrams(&raw, &sctp::init(port, server_port), name_in).await
            }
        }
    }
}

/// Sends `request`, with retransmissions, until `name_in` finds a name in a received datagram.
async fn exchange_datagrams(
    socket: &UdpSocket,
    request: &[u8],
    name_in: impl Fn(&[u8]) -> Option<String>,
) -> io::Result<String> {
    let transmit = async {
        for interval in RETRANSMIT_INTERVALS {
            socket.send(request).await?;
            sleep(interval).await;
        }
        std::future::pending::<io::Result<()>>().await
    };
    let receive = async {
        let mut buffer = [0; RECEIVE_BUFFER];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(name) = name_in(&buffer[..length]) {
                return Ok(name);
            }
        }
    };
    tokio::select! {
        Err(error) = transmit => Err(error),
        name = receive => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_outweighs_a_drop_and_silence_is_no_deny() {
        use ConnectionResult::{Answered, Dropped, Failed, Lost, Refused, WrongServer};
        let expected = BTreeSet::from(["ns/web".to_owned()]);
        let name = |name: &str| Some(Ok(name.to_owned()));
        let error = |kind: io::ErrorKind| Some(Err(io::Error::from(kind)));
        let refused = || error(io::ErrorKind::ConnectionRefused);
        let down = || error(io::ErrorKind::NetworkDown);
        let wrong = WrongServer { name: "ns/api".to_owned() };
        let failed = Failed { error: io::Error::from(io::ErrorKind::NetworkDown).to_string() };
        let drop = Some(Reason::NoRule);
        #[rustfmt::skip]
        let cases = [
            ("the right server",              name("ns/web"), None, Answered),
            ("a drop of a retransmission",    name("ns/web"), drop, Answered),
            ("another server",                name("ns/api"), drop, wrong),
            ("a refusal",                     refused(),      None, Refused { dropped: None }),
            ("a refusal outweighs a drop",    refused(),      drop, Refused { dropped: drop }),
            ("a drop and nothing else",       None,           drop, Dropped(Reason::NoRule)),
            ("a drop outweighs other errors", down(),         drop, Dropped(Reason::NoRule)),
            ("an error without a drop",       down(),         None, failed),
            ("silence",                       None,           None, Lost),
        ];
        for (claim, response, drop, want) in cases {
            assert_eq!(conclude(&expected, drop, response), want, "{claim}");
        }
    }
}

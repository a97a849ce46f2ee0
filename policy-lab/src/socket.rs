//! Opens sockets in the calling thread's network namespace; other threads may use them later.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

/// Backlog of a listener: all probes of a port may connect at once.
const BACKLOG: i32 = 1024;

/// A non-blocking socket bound to `address`.
fn bound(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(kind == Type::STREAM)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A TCP listener.
pub(crate) fn tcp_listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, Type::STREAM)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A TCP socket that connects from `address`.
pub(crate) fn tcp_client(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = bound(address, Type::STREAM)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// A UDP socket.
pub(crate) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(bound(address, Type::DGRAM)?.into())
}

/// A raw socket that sends and receives whole SCTP packets.
///
/// Received packets have their IP header in IPv4, and none in IPv6 (raw(7), ipv6(7)).
/// It has the type of a UDP socket because tokio has no raw socket; its own port is 0.
pub(crate) fn sctp(address: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(address, 0);
    let kind = Type::RAW.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::SCTP))?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

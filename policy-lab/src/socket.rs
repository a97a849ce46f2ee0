//! Sockets made inside a namespace, for use outside of it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};

/// Connections that may wait to be accepted; every probe of a port may come at once.
const BACKLOG: i32 = 1024;

/// A socket bound to `address`, ready for tokio.
fn bound(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(kind == Type::STREAM)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A TCP listener in the calling thread's namespace.
pub(super) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, Type::STREAM)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A TCP socket that will connect from `address`.
pub(super) fn caller(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = bound(address, Type::STREAM)?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// A UDP socket.
pub(super) fn datagram(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(bound(address, Type::DGRAM)?.into())
}

/// A raw socket that sends and receives whole SCTP packets, in IPv4 with the IP header in front of
/// those received. It goes by the type of a socket for datagrams, and its ports are 0.
pub(super) fn sctp(address: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(address, 0);
    let kind = Type::RAW.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::SCTP))?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

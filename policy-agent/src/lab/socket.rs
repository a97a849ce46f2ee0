//! Sockets made inside a namespace, for use outside of it.

use std::{io, net::SocketAddr};

use socket2::{Domain, Socket, Type};
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

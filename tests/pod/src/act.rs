//! One try to reach a server, and its outcome.
//!
//! `probe`, `first` and `traffic` are built on it.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A connection, which the server greets.
    Tcp,
    /// A datagram, which it sends back.
    Udp,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            other => Err(format!("`{other}` is not TCP or UDP")),
        }
    }
}

/// The outcome of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server sent its name; empty for a server that speaks another protocol.
    Answered(String),
    /// The connection or the datagram was refused.
    Refused,
    /// No answer in time.
    Silent,
}

/// Tries once.
pub(crate) fn reach(protocol: Protocol, target: SocketAddr, patience: Duration) -> Outcome {
    let tried = match protocol {
        Protocol::Tcp => connect(target, patience),
        Protocol::Udp => send(target, patience),
    };
    match tried {
        Ok(name) => Outcome::Answered(name),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Silent,
    }
}

/// A socket of the target's family.
pub(crate) fn socket_for(target: SocketAddr) -> io::Result<UdpSocket> {
    match target {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

fn connect(target: SocketAddr, patience: Duration) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&target, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut name = String::new();
    // A server that accepts the connection is reached, also if it speaks another protocol.
    let _ = BufReader::new(stream).read_line(&mut name);
    Ok(name.trim().to_owned())
}

/// Sends up to three datagrams, because one may be lost without a policy.
fn send(target: SocketAddr, patience: Duration) -> io::Result<String> {
    let socket = socket_for(target)?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(patience / 3))?;
    let mut buffer = [0; 256];
    for last in [false, false, true] {
        socket.send(b"\n")?;
        match socket.recv(&mut buffer) {
            Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned()),
            Err(error) if last || error.kind() == ErrorKind::ConnectionRefused => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
    Err(ErrorKind::TimedOut.into())
}

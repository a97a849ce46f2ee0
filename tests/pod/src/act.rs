//! One try to reach a server, and what came of it.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

/// What can be spoken.
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

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The server said its name; empty for one that says nothing we understand.
    Answered(String),
    /// Somebody said that nothing is there.
    Refused,
    /// Nothing came in time.
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
    // Whoever took the connection was reached, though it may speak another language.
    let _ = BufReader::new(stream).read_line(&mut name);
    Ok(name.trim().to_owned())
}

/// Sent three times, since a datagram may be lost to nobody's fault.
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

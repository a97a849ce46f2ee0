//! `policy-pod serve`: a server that sends its name, then returns what it receives.

use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::act::{Protocol, socket_for};

/// Datagrams of a call, because some may be lost.
const CALLS: u32 = 5;

/// Serves at every address of the pod until it is killed, and calls `whom` at once.
pub(crate) fn run(places: &[&str], whom: Option<&str>) -> Result<(), Box<dyn Error>> {
    let whom: Option<SocketAddr> = whom.map(str::parse).transpose()?;
    let name: Arc<str> = env::var("POD_NAME").unwrap_or_default().into();
    let mut servers = Vec::new();
    for place in places {
        let (port, protocol) =
            place.split_once('/').ok_or_else(|| format!("not a place: {place}"))?;
        // This address takes IPv4 too.
        let address = (Ipv6Addr::UNSPECIFIED, port.parse()?);
        let name = Arc::clone(&name);
        servers.push(match protocol.parse()? {
            Protocol::Tcp => match TcpListener::bind(address) {
                Ok(listener) => thread::spawn(move || greet_all(&listener, &name)),
                // In the node's network another process may use the port; it answers as well.
                Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
                Err(error) => return Err(error.into()),
            },
            Protocol::Udp => {
                let socket = UdpSocket::bind(address)?;
                thread::spawn(move || answer_all(&socket, &name))
            }
        });
    }
    println!("serving {}", places.join(" "));
    if let Some(whom) = whom {
        let socket = socket_for(whom)?;
        for number in 0..CALLS {
            // A datagram that cannot be sent is lost like any other.
            let _ = socket.send_to(name.as_bytes(), whom);
            thread::sleep(Duration::from_millis(100) * number);
        }
    }
    loop {
        if servers.iter().any(thread::JoinHandle::is_finished) {
            return Err("a server ended".into());
        }
        thread::park_timeout(Duration::from_secs(1));
    }
}

fn greet_all(listener: &TcpListener, name: &Arc<str>) {
    for stream in listener.incoming() {
        // The client may have closed the connection already.
        let Ok(stream) = stream else { continue };
        let name = Arc::clone(name);
        thread::spawn(move || echo(stream, &name));
    }
}

fn echo(mut stream: TcpStream, name: &str) -> io::Result<u64> {
    stream.set_nodelay(true)?;
    stream.write_all(format!("{name}\n").as_bytes())?;
    let mut back = stream.try_clone()?;
    io::copy(&mut stream, &mut back)
}

/// Returns each datagram with the server's name appended; an empty line gives the name alone.
fn answer_all(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 256];
    loop {
        // An error here is an ICMP answer to an earlier reply; the next datagram may be good.
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let mut answer = buffer[..length].to_vec();
        answer.extend_from_slice(name.as_bytes());
        let _ = socket.send_to(&answer, client);
    }
}

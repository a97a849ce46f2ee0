//! `policy-pod hammer`: waits for calls, then sends datagrams to each caller until one is answered.
//!
//! It proves that a server cannot be reached, not even in the first moment after it starts.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::act::socket_for;

/// Prints `heard NAME` for each caller, and `answered NAME` for each server that answers.
pub(crate) fn run(pause: &str, port: &str, target: &str) -> Result<(), Box<dyn Error>> {
    let pause = Duration::from_millis(pause.parse()?);
    let target: u16 = target.parse()?;
    let calls = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port.parse()?))?;
    let mut heard = BTreeSet::new();
    let mut buffer = [0; 256];
    loop {
        let Ok((length, from)) = calls.recv_from(&mut buffer) else { continue };
        let name = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
        // Callers repeat a call, because a datagram may be lost.
        if !heard.insert(name.clone()) {
            continue;
        }
        println!("heard {name}");
        // A caller by IPv4 has an IPv4-mapped address here.
        let server = SocketAddr::new(from.ip().to_canonical(), target);
        thread::spawn(move || send_until_answered(&name, server, pause));
    }
}

/// Sends a datagram at each interval until the server answers.
fn send_until_answered(name: &str, server: SocketAddr, pause: Duration) {
    let Ok(socket) = socket_for(server) else { return };
    let Ok(()) = socket.set_read_timeout(Some(pause)) else { return };
    loop {
        // A datagram that cannot be sent counts as unanswered.
        let _ = socket.send_to(b"\n", server);
        if socket.recv(&mut [0; 256]).is_ok() {
            println!("answered {name}");
            return;
        }
    }
}

//! `policy-pod hammer`: asks whoever calls, from the moment of the call on and for ever.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::act::socket_for;

/// Says `heard NAME` of each that calls, and `answered NAME` of each whose server answers.
pub(crate) fn run(pause: &str, port: &str, target: &str) -> Result<(), Box<dyn Error>> {
    let pause = Duration::from_millis(pause.parse()?);
    let target: u16 = target.parse()?;
    let calls = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port.parse()?))?;
    let mut heard = BTreeSet::new();
    let mut buffer = [0; 256];
    loop {
        let Ok((length, from)) = calls.recv_from(&mut buffer) else { continue };
        let name = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
        // A call is repeated, for it may be lost.
        if !heard.insert(name.clone()) {
            continue;
        }
        println!("heard {name}");
        // Who calls by IPv4 has an address that IPv6 maps.
        let server = SocketAddr::new(from.ip().to_canonical(), target);
        thread::spawn(move || ask(&name, server, pause));
    }
}

/// Asks until an answer comes.
fn ask(name: &str, server: SocketAddr, pause: Duration) {
    let Ok(socket) = socket_for(server) else { return };
    let Ok(()) = socket.set_read_timeout(Some(pause)) else { return };
    loop {
        // One that cannot be sent is one that is not answered.
        let _ = socket.send_to(b"\n", server);
        if socket.recv(&mut [0; 256]).is_ok() {
            println!("answered {name}");
            return;
        }
    }
}

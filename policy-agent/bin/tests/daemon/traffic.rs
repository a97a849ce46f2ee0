//! Datagrams that are counted one by one, while something happens.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::{
    machine::{HOST, Machine, POD, until},
    namespace::Namespace,
};

/// Time between two datagrams of a stream.
const PACE: Duration = Duration::from_micros(300);
/// Time that the last datagram has to arrive.
const GRACE: Duration = Duration::from_millis(200);
/// Size of a buffer for what a busy machine reads late.
const ROOM: usize = 1 << 26;

/// A numbered stream of datagrams from one socket to another.
struct Stream {
    sender: JoinHandle<std::io::Result<usize>>,
    receiver: UdpSocket,
}

/// Streams that the policy allows, and streams that it denies.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    /// From the pod to the open port, and back to a pod that says nothing itself.
    allowed: Vec<Stream>,
    /// From the pod to another port, and from the host to the pod.
    denied: Vec<Stream>,
}

impl Traffic {
    /// Starts them; the policy `ALLOW_5000` is in force.
    pub(crate) fn start(machine: &Machine) -> Result<Self> {
        let socket = |namespace: &Namespace, address: Ipv4Addr, port: u16| {
            let socket = namespace.run(async || Ok(UdpSocket::bind((address, port))?))?;
            setsockopt(&socket, RcvBufForce, &ROOM)?;
            socket.set_nonblocking(true)?;
            Ok::<_, anyhow::Error>(socket)
        };
        let pod = |port| socket(&machine.pod, POD, port);
        let host = |port| socket(&machine.host, HOST, port);
        let (open, quiet) = (host(5000)?, pod(4002)?);
        until("the quiet end has asked", Duration::from_secs(20), || {
            quiet.send_to(b"?", (HOST, 5000))?;
            Ok(open.recv(&mut [0; 8]).is_ok())
        })?;
        thread::sleep(GRACE);
        while open.recv(&mut [0; 8]).is_ok() {}
        let stop = Arc::new(AtomicBool::new(false));
        let stream = |from: UdpSocket, to: (Ipv4Addr, u16), receiver: UdpSocket| {
            let stop = Arc::clone(&stop);
            let sender = thread::spawn(move || send(&from, to, &stop));
            Stream { sender, receiver }
        };
        let push = open.try_clone()?;
        let allowed =
            vec![stream(pod(4000)?, (HOST, 5000), open), stream(push, (POD, 4002), quiet)];
        let denied = vec![
            stream(pod(4001)?, (HOST, 5001), host(5001)?),
            stream(host(5002)?, (POD, 6000), pod(6000)?),
        ];
        Ok(Self { stop, allowed, denied })
    }

    /// Stops them: not one allowed datagram was lost, not one denied came through.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { stop, allowed, denied } = self;
        stop.store(true, Ordering::Relaxed);
        let mut results = Vec::new();
        let mut fine = true;
        let claims = [("allowed", allowed, true), ("denied", denied, false)];
        for (claim, streams, passes) in claims {
            for Stream { sender, receiver } in streams {
                let sent = sender.join().ok().context("a sender panicked")??;
                thread::sleep(GRACE);
                let mut seen = vec![false; sent];
                let mut number = [0; 8];
                while receiver.recv(&mut number).is_ok() {
                    let number = usize::try_from(u64::from_ne_bytes(number))?;
                    *seen.get_mut(number).context("a number that was not sent")? = true;
                }
                let arrived = seen.iter().filter(|seen| **seen).count();
                let lost = seen.iter().position(|seen| !seen);
                results.push(format!("{claim}: {arrived} of {sent} arrived, first lost {lost:?}"));
                fine &= sent > 100 && arrived == if passes { sent } else { 0 };
            }
        }
        println!("{}", results.join("; "));
        ensure!(fine, "{}", results.join("; "));
        Ok(())
    }
}

fn send(from: &UdpSocket, to: (Ipv4Addr, u16), stop: &AtomicBool) -> std::io::Result<usize> {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        from.send_to(&(sent as u64).to_ne_bytes(), to)?;
        sent += 1;
        thread::sleep(PACE);
    }
    Ok(sent)
}

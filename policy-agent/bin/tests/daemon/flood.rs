//! Datagrams at full speed on every CPU: some that policy allows, some that it denies.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{setsockopt, sockopt::RcvBufForce},
    unistd::Pid,
};

use crate::{
    machine::{HOST, Machine, POD},
    namespace::Namespace,
};

/// Allowed datagrams of one CPU that may be on their way, each with two denied ones behind it:
/// fewer than a socket's buffer holds, and than a CPU's backlog (`net.core.netdev_max_backlog`), so
/// that what is lost is lost to policy.
const WINDOW: u64 = 128;
/// Bytes of a receiver's buffer: many times what all windows take.
const ROOM: usize = 1 << 24;
/// Time after which a datagram that did not arrive is lost.
const LOST: Duration = Duration::from_secs(10);

/// What was counted so far.
#[derive(Default)]
struct Counts {
    allowed_sent: AtomicU64,
    allowed_arrived: AtomicU64,
    denied_sent: AtomicU64,
    denied_arrived: AtomicU64,
}

/// Senders and receivers on every CPU.
pub(crate) struct Flood {
    /// Ends the senders; then, when all is read, the receivers.
    quiet: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    counts: Vec<Arc<Counts>>,
    senders: Vec<JoinHandle<()>>,
    receivers: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Starts on every CPU: from the pod to port 5000 of the host, which is allowed; to port 5001,
    /// and from the host to the pod, which is not.
    pub(crate) fn start(machine: &Machine) -> Result<Self> {
        let (quiet, over) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (mut counts, mut senders, mut receivers) = (Vec::new(), Vec::new(), Vec::new());
        let target = |address: Ipv4Addr, port: u16| SocketAddr::from((address, port));
        let open = reader(&machine.host, HOST, 5000)?;
        let [closed, pod] = [reader(&machine.host, HOST, 5001)?, reader(&machine.pod, POD, 6000)?];
        let cpus = thread::available_parallelism()?.get();
        for (cpu, port) in (0..cpus).zip(4000_u16..) {
            let count = Arc::new(Counts::default());
            let from_pod = bind(&machine.pod, POD, port)?;
            let from_host = bind(&machine.host, HOST, port)?;
            let (stopped, sent) = (Arc::clone(&quiet), Arc::clone(&count));
            senders.push(thread::spawn(move || {
                pin(cpu);
                while !stopped.load(Ordering::Relaxed) {
                    if on_their_way(&sent) >= WINDOW {
                        thread::yield_now();
                        continue;
                    }
                    if from_pod.send_to(&[1], target(HOST, 5000)).is_ok() {
                        sent.allowed_sent.fetch_add(1, Ordering::Relaxed);
                    }
                    let _ = from_pod.send_to(&[1], target(HOST, 5001));
                    let _ = from_host.send_to(&[1], target(POD, 6000));
                    sent.denied_sent.fetch_add(2, Ordering::Relaxed);
                }
            }));
            counts.push(count);
        }
        let by_port = counts.clone();
        receivers.push(receive(open, &over, move |from| {
            // Each sender has a port of its own.
            let sender = by_port.get(usize::from(from.port()).wrapping_sub(4000));
            sender.map(|sender| sender.allowed_arrived.fetch_add(1, Ordering::Relaxed));
        }));
        for socket in [closed, pod] {
            let first = counts.first().map(Arc::clone).unwrap_or_default();
            receivers.push(receive(socket, &over, move |_| {
                first.denied_arrived.fetch_add(1, Ordering::Relaxed);
            }));
        }
        Ok(Self { quiet, over, counts, senders, receivers })
    }

    /// Stops: not one allowed datagram was lost, not one denied came through; how many were denied.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.quiet.store(true, Ordering::Relaxed);
        self.senders.drain(..).for_each(|sender| drop(sender.join()));
        let start = Instant::now();
        while self.counts.iter().any(|counts| on_their_way(counts) > 0) && start.elapsed() < LOST {
            thread::sleep(Duration::from_millis(10));
        }
        self.over.store(true, Ordering::Relaxed);
        self.receivers.drain(..).for_each(|receiver| drop(receiver.join()));
        let sum = |of: fn(&Counts) -> &AtomicU64| {
            self.counts.iter().map(|counts| of(counts).load(Ordering::Relaxed)).sum::<u64>()
        };
        let (sent, arrived) = (sum(|of| &of.allowed_sent), sum(|of| &of.allowed_arrived));
        let (denied, through) = (sum(|of| &of.denied_sent), sum(|of| &of.denied_arrived));
        let summary = format!(
            "{arrived} of {sent} allowed datagrams arrived, {through} of {denied} denied ones"
        );
        println!("{summary}");
        ensure!(sent == arrived && through == 0 && sent > 1000 && denied > 1000, "{summary}");
        Ok(denied)
    }
}

fn on_their_way(counts: &Counts) -> u64 {
    let sent = counts.allowed_sent.load(Ordering::Relaxed);
    sent.saturating_sub(counts.allowed_arrived.load(Ordering::Relaxed))
}

fn bind(namespace: &Namespace, address: Ipv4Addr, port: u16) -> Result<UdpSocket> {
    namespace.run(async || Ok(UdpSocket::bind((address, port))?))
}

fn reader(namespace: &Namespace, address: Ipv4Addr, port: u16) -> Result<UdpSocket> {
    let socket = bind(namespace, address, port)?;
    setsockopt(&socket, RcvBufForce, &ROOM)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

fn receive(
    socket: UdpSocket,
    over: &Arc<AtomicBool>,
    arrived: impl Fn(SocketAddr) + Send + 'static,
) -> JoinHandle<()> {
    let over = Arc::clone(over);
    thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            if let Ok((_, from)) = socket.recv_from(&mut [0; 8]) {
                arrived(from);
            }
        }
    })
}

/// Keeps the thread on a CPU; where that is refused, the scheduler spreads them.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    if set.set(cpu).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

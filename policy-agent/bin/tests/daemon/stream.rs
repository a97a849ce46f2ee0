//! Connections that go on by themselves, and what of them arrives.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// Time between two pushes: data is read long before the next comes.
const PACE: Duration = Duration::from_millis(1);
/// Time that what was on its way has to be read.
const GRACE: Duration = Duration::from_millis(50);
/// Time in which hundreds of packets would arrive.
const LONG: Duration = Duration::from_millis(600);

/// One direction of a connection: one end sends, the other counts.
pub(crate) struct Flow {
    quiet: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    arrived: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// A TCP connection that was opened to `port` of an address: the opener's end, and the other.
pub(crate) fn connect(
    client: &Namespace,
    server: &Namespace,
    address: impl Into<IpAddr>,
    port: u16,
) -> Result<(TcpStream, TcpStream)> {
    let address = address.into();
    let listener = server.run(async || Ok(TcpListener::bind((address, port))?))?;
    let limit = Duration::from_secs(20);
    let opener = client
        .run(async || Ok(TcpStream::connect_timeout(&(address, port).into(), limit)?))
        .context("cannot connect")?;
    Ok((opener, listener.accept()?.0))
}

impl Flow {
    /// Pushes a segment a millisecond from one end of a connection to the other.
    pub(crate) fn push(from: &TcpStream, to: &TcpStream) -> Result<Self> {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        from.set_nodelay(true)?;
        from.set_write_timeout(Some(PACE))?;
        to.set_read_timeout(Some(PACE))?;
        Ok(Self::begin(
            move || {
                thread::sleep(PACE);
                from.write(&[7; 100]).unwrap_or_default()
            },
            move || to.read(&mut [0; 4096]),
        ))
    }

    /// Pushes as fast as the connection takes it.
    pub(crate) fn rush(from: &TcpStream, to: &TcpStream) -> Result<Self> {
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        from.set_write_timeout(Some(GRACE))?;
        to.set_read_timeout(Some(GRACE))?;
        let (load, mut room) = (vec![7; 1 << 16], vec![0; 1 << 20]);
        Ok(Self::begin(move || from.write(&load).unwrap_or_default(), move || to.read(&mut room)))
    }

    /// Sends a datagram a millisecond.
    pub(crate) fn send(from: &UdpSocket, to: &UdpSocket) -> Result<Self> {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let address = to.local_addr()?;
        to.set_read_timeout(Some(PACE))?;
        Ok(Self::begin(
            move || {
                thread::sleep(PACE);
                from.send_to(b"datagram", address).unwrap_or_default()
            },
            move || to.recv(&mut [0; 64]),
        ))
    }

    fn begin(
        mut send: impl FnMut() -> usize + Send + 'static,
        mut receive: impl FnMut() -> std::io::Result<usize> + Send + 'static,
    ) -> Self {
        let (quiet, over) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (total, arrived) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let (stopped, count) = (Arc::clone(&quiet), Arc::clone(&total));
        let sender = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                count.fetch_add(send() as u64, Ordering::Relaxed);
            }
        });
        let (stopped, count) = (Arc::clone(&over), Arc::clone(&arrived));
        let receiver = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match receive() {
                    Ok(bytes) => drop(count.fetch_add(bytes as u64, Ordering::Relaxed)),
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => return,
                }
            }
        });
        Self { quiet, over, sent: total, arrived, threads: vec![sender, receiver] }
    }

    /// Bytes that arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Waits until it flows.
    pub(crate) fn flows(&self) -> Result<()> {
        let (before, begin) = (self.arrived(), Instant::now());
        while self.arrived() < before + 64 {
            ensure!(begin.elapsed() < Duration::from_secs(20), "nothing arrives any more");
            thread::sleep(PACE);
        }
        Ok(())
    }

    /// Not a byte arrives from now on, however long one waits.
    pub(crate) fn is_cut(&self) -> Result<()> {
        thread::sleep(GRACE);
        let before = self.arrived();
        thread::sleep(LONG);
        ensure!(self.arrived() == before, "{} bytes came through", self.arrived() - before);
        Ok(())
    }

    /// Stops it: everything that was sent arrived, and how much that was.
    pub(crate) fn all_arrived(&self) -> Result<u64> {
        self.quiet.store(true, Ordering::Relaxed);
        thread::sleep(GRACE);
        let begin = Instant::now();
        let sent = || self.sent.load(Ordering::Relaxed);
        while self.arrived() < sent() && begin.elapsed() < Duration::from_secs(20) {
            thread::sleep(PACE);
        }
        let (sent, arrived) = (sent(), self.arrived());
        ensure!(sent == arrived && sent > 0, "{arrived} of {sent} bytes arrived");
        Ok(arrived)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.quiet.store(true, Ordering::Relaxed);
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

//! `policy-pod watch`: prints when a server becomes reachable and when it is no longer reachable.
//!
//! It sends numbered datagrams at a short interval; a change is dated by the first datagram with
//! another result than the one before it.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::act::socket_for;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(100);

/// A datagram, by when it was sent.
#[derive(Clone, Copy)]
struct Sent {
    at: SystemTime,
    due: Instant,
    is_answered: bool,
}

/// Prints `open` or `closed` with the time, in nanoseconds since 1970, at which the first datagram
/// with that result was sent.
pub(crate) fn run(pause: &str, target: &str) -> Result<(), Box<dyn Error>> {
    let pause = Duration::from_millis(pause.parse()?);
    let target: SocketAddr = target.parse()?;
    let socket = socket_for(target)?;
    // Without a connection an ICMP answer is no error.
    let sent = Arc::new(Mutex::new(Vec::<Sent>::new()));
    let (receiver, answered) = (socket.try_clone()?, Arc::clone(&sent));
    thread::spawn(move || {
        let mut buffer = [0; 256];
        loop {
            let number = match receiver.recv(&mut buffer) {
                Ok(length) if length >= 8 => {
                    let mut number = [0; 8];
                    number.copy_from_slice(&buffer[..8]);
                    usize::try_from(u64::from_be_bytes(number)).unwrap_or(usize::MAX)
                }
                _ => continue,
            };
            let mut sent = answered.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sent) = sent.get_mut(number) {
                sent.is_answered = true;
            }
        }
    });
    let (mut judged, mut is_open) = (0, None);
    loop {
        let number = {
            let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            sent.push(Sent { at: SystemTime::now(), due: now + PATIENCE, is_answered: false });
            while let Some(one) = sent.get(judged).filter(|one| one.is_answered || one.due < now) {
                if is_open.replace(one.is_answered) != Some(one.is_answered) {
                    let at = one.at.duration_since(SystemTime::UNIX_EPOCH)?;
                    let word = if one.is_answered { "open" } else { "closed" };
                    println!("{word} {}", at.as_nanos());
                }
                judged += 1;
            }
            sent.len() - 1
        };
        // A datagram that cannot be sent counts as unanswered.
        let _ = socket.send_to(&(number as u64).to_be_bytes(), target);
        thread::sleep(pause);
    }
}

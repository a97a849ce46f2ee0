//! `policy-pod traffic`: tries that must be answered, tries that must not, and connections that
//! must survive.
//!
//! The counts go to standard output, which also works while the API server is down.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::act::{Outcome, Protocol, reach};

/// A try that takes longer is lost; the time is enough for retransmissions.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait for an answer that must not come.
const BRIEF: Duration = Duration::from_millis(400);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// Each try is answered.
    Allow,
    /// None is.
    Deny,
    /// One connection answers for ever.
    Keep,
}

/// Tries of one kind so far, and how many had the wrong outcome.
#[derive(Debug, Default)]
struct Count {
    tried: AtomicU64,
    wrong: AtomicU64,
}

/// Runs until it is killed.
pub(crate) fn run(pause: &str, targets: &[&str]) -> Result<(), Box<dyn Error>> {
    let pause = Duration::from_millis(pause.parse()?);
    let counts: Arc<[Count; 3]> = Arc::default();
    for target in targets {
        let parsed = parse(target).ok_or_else(|| format!("not a target: {target}"))?;
        let counts = Arc::clone(&counts);
        thread::spawn(move || follow(parsed, pause, &counts));
    }
    loop {
        thread::sleep(Duration::from_secs(1));
        let [allow, deny, keep] = counts.each_ref().map(|count| {
            let wrong = count.wrong.load(Ordering::Relaxed);
            format!("{} {wrong}", count.tried.load(Ordering::Relaxed))
        });
        println!("total allow {allow} deny {deny} keep {keep}");
    }
}

fn parse(target: &str) -> Option<(Want, Protocol, SocketAddr)> {
    let (want, place) = target.split_once('=')?;
    let (protocol, address) = place.split_once('/')?;
    let want = match want {
        "allow" => Want::Allow,
        "deny" => Want::Deny,
        "keep" => Want::Keep,
        _ => return None,
    };
    Some((want, protocol.parse().ok()?, address.parse().ok()?))
}

fn follow(
    (want, protocol, target): (Want, Protocol, SocketAddr),
    pause: Duration,
    counts: &[Count; 3],
) {
    let count = &counts[want as usize];
    let mut kept = None;
    loop {
        let start = Instant::now();
        let is_wrong = match want {
            Want::Allow => !matches!(reach(protocol, target, PATIENCE), Outcome::Answered(_)),
            Want::Deny => reach(protocol, target, BRIEF) != Outcome::Silent,
            Want::Keep => talk(&mut kept, target).is_err(),
        };
        count.tried.fetch_add(1, Ordering::Relaxed);
        if is_wrong {
            count.wrong.fetch_add(1, Ordering::Relaxed);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            println!("wrong {want:?} {protocol:?} {target} at {} ms", now.as_millis());
        }
        thread::sleep(pause.saturating_sub(start.elapsed()));
    }
}

/// Sends four bytes and reads them back; the next call opens a new connection after a failure.
fn talk(kept: &mut Option<TcpStream>, target: SocketAddr) -> io::Result<()> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => greeted(target)?,
    };
    stream.write_all(b"word")?;
    stream.read_exact(&mut [0; 4])?;
    *kept = Some(stream);
    Ok(())
}

fn greeted(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The server sends only its name before it receives something, so the buffer loses no byte.
    BufReader::new(&stream).read_line(&mut String::new())?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::{Want, parse};
    use crate::act::Protocol;

    #[test]
    fn a_target_says_what_is_wanted_of_it() {
        let target = "10.0.0.1:80".parse().expect("legal");
        assert_eq!(parse("deny=TCP/10.0.0.1:80"), Some((Want::Deny, Protocol::Tcp, target)));
        assert_eq!(parse("perhaps=TCP/10.0.0.1:80"), None);
        assert_eq!(parse("TCP/10.0.0.1:80"), None);
    }
}

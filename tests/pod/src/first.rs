//! `policy-pod first`: what a container reaches before it does anything else.

use std::error::Error;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::act::{Outcome, Protocol, reach};

/// Tries all targets at the same time and prints the result of each.
pub(crate) fn run(patience: &str, targets: &[&str]) -> Result<(), Box<dyn Error>> {
    let patience = Duration::from_millis(patience.parse()?);
    let mut tries = Vec::new();
    for target in targets {
        let (id, protocol, address) =
            parse(target).ok_or_else(|| format!("not a target: {target}"))?;
        tries.push((
            id,
            thread::spawn(move || {
                let start = Instant::now();
                (reach(protocol, address, patience), start.elapsed())
            }),
        ));
    }
    for (id, tried) in tries {
        let Ok((outcome, took)) = tried.join() else {
            return Err(format!("the try of {id} panicked").into());
        };
        let word = match outcome {
            Outcome::Answered(_) => "answered",
            Outcome::Refused => "refused",
            Outcome::Silent => "silent",
        };
        println!("{id} {word} {}", took.as_millis());
    }
    Ok(())
}

fn parse(target: &str) -> Option<(String, Protocol, SocketAddr)> {
    let (id, place) = target.split_once('=')?;
    let (protocol, address) = place.split_once('/')?;
    Some((id.to_owned(), protocol.parse().ok()?, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::act::Protocol;

    #[test]
    fn a_target_has_a_name_a_protocol_and_a_place() {
        let target = "[fd00::1]:80".parse().expect("legal");
        assert_eq!(parse("deny=UDP/[fd00::1]:80"), Some(("deny".into(), Protocol::Udp, target)));
        assert_eq!(parse("deny=UDP/10.0.0.1"), None);
        assert_eq!(parse("UDP/10.0.0.1:80"), None);
    }
}

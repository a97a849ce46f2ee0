//! `policy-pod probe`: many tries at once.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::act::{Outcome, Protocol, reach};

/// Tries what standard input names.
pub(crate) fn run(patience: &str) -> Result<(), Box<dyn Error>> {
    let patience = Duration::from_millis(patience.parse()?);
    let mut tries = Vec::new();
    for line in io::stdin().lines() {
        let line = line?;
        let (id, protocol, target) = parse(&line).ok_or_else(|| format!("not a probe: {line}"))?;
        tries.push((id, thread::spawn(move || reach(protocol, target, patience))));
    }
    for (id, tried) in tries {
        match tried.join() {
            Ok(Outcome::Answered(name)) => println!("{id} answered {name}"),
            Ok(Outcome::Refused) => println!("{id} refused"),
            Ok(Outcome::Silent) => println!("{id} silent"),
            Err(_) => return Err(format!("probe {id} panicked").into()),
        }
    }
    Ok(())
}

fn parse(line: &str) -> Option<(String, Protocol, SocketAddr)> {
    let mut words = line.split_whitespace();
    let parsed =
        (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::act::Protocol;

    #[test]
    fn a_line_is_a_number_a_protocol_and_a_target() {
        let parsed = parse("7 UDP [fd00::1]:53");
        assert_eq!(
            parsed,
            Some(("7".into(), Protocol::Udp, "[fd00::1]:53".parse().expect("legal")))
        );
        for wrong in ["", "7", "7 ICMP 10.0.0.1:1", "7 TCP 10.0.0.1", "7 TCP 10.0.0.1:1 more"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}

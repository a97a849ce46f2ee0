//! The program in the pods of end-to-end tests: servers, probes and traffic.
//!
//! It is linked statically and is alone in its image.
#![forbid(unsafe_code)]

mod act;
mod first;
mod hammer;
mod probe;
mod serve;
mod traffic;
mod watch;

use std::env;
use std::process::ExitCode;
use std::thread;

const USAGE: &str = "\
usage: policy-pod pause
       policy-pod serve PORT/TCP PORT/UDP …
           sends its name (POD_NAME) to each client, then returns what it receives
       policy-pod probe MILLISECONDS < PROBES
           tries `ID PROTOCOL ADDRESS:PORT` of each line, all at once; prints `ID answered NAME`,
           `ID refused` or `ID silent`
       policy-pod first MILLISECONDS ID=PROTOCOL/ADDRESS:PORT …
           tries each before it does anything else; prints `ID answered|refused|silent MILLISECONDS`
       policy-pod once MILLISECONDS ID=PROTOCOL/ADDRESS:PORT …
           as `first`, and stays
       policy-pod call ADDRESS:PORT PORT/TCP PORT/UDP …
           as `serve`, and sends its name to that address as soon as it serves
       policy-pod hammer MILLISECONDS PORT PORT
           receives calls at the first port, then sends a datagram to the second port of each
           caller at this interval until one is answered; prints `heard NAME` and `answered NAME`
       policy-pod traffic MILLISECONDS allow|deny|keep=PROTOCOL/ADDRESS:PORT …
           tries each target at this interval, and prints every second how many were answered
       policy-pod watch MILLISECONDS ADDRESS:PORT
           prints when a server of datagrams becomes reachable, and when it is no longer reachable";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["pause"] => stay(),
        ["serve", ref places @ ..] => serve::run(places, None),
        ["call", whom, ref places @ ..] => serve::run(places, Some(whom)),
        ["first", patience, ref targets @ ..] => first::run(patience, targets),
        ["once", patience, ref targets @ ..] => first::run(patience, targets).map(|()| stay()),
        ["hammer", pause, port, target] => hammer::run(pause, port, target),
        ["probe", patience] => probe::run(patience),
        ["traffic", pause, ref targets @ ..] => traffic::run(pause, targets),
        ["watch", pause, target] => watch::run(pause, target),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn stay() -> ! {
    loop {
        thread::park();
    }
}

//! The agent, asked with a deadline.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{
    failure::Failure,
    wire::{Answer, LINE, Request},
};

/// Time beyond the agent's own in which its answer may arrive.
const GRACE: Duration = Duration::from_secs(1);

/// Asks the agent and waits for what it says.
///
/// The answer is waited for on a thread of its own, which ends with the process: a socket whose
/// queue is full blocks whoever connects, and no time-out of a stream helps against that.
pub(crate) fn ask(socket: &str, request: &Request, patience: Duration) -> Result<(), Failure> {
    let line = serde_json::to_string(request).map_err(Failure::Answer)? + "\n";
    let path = socket.to_owned();
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || sender.send(exchange(Path::new(&path), &line)));
    let said = match answer.recv_timeout(patience + GRACE) {
        Ok(said) => said,
        Err(RecvTimeoutError::Timeout) => {
            return Err(Failure::Late { socket: socket.to_owned(), seconds: patience.as_secs() });
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let said = said.map_err(|source| Failure::Agent { socket: socket.to_owned(), source })?;
    match serde_json::from_str(&said).map_err(Failure::Answer)? {
        Answer::Enforced => Ok(()),
        Answer::Refused { why } => Err(Failure::NotEnforced(why)),
    }
}

fn exchange(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(line.as_bytes())?;
    let mut said = String::new();
    BufReader::new(stream.take(LINE)).read_line(&mut said)?;
    if said.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(said)
}

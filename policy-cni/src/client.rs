//! Sends a request to the agent and waits for its response until a deadline.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{
    error::PluginError,
    protocol::{MAX_LINE, Request, Response},
};

/// Time beyond the agent's own deadline for its response to arrive.
const GRACE: Duration = Duration::from_secs(1);

/// Sends a request; `Ok` where the agent responds that the policies are in force.
///
/// The exchange has its own thread, which ends with the process: connecting to a socket with a full
/// queue blocks, and the time-outs of a stream do not apply to that.
pub(crate) fn request(
    socket: &str,
    request: &Request,
    timeout: Duration,
) -> Result<(), PluginError> {
    let line = serde_json::to_string(request).map_err(PluginError::Response)? + "\n";
    let path = socket.to_owned();
    let (sender, response) = mpsc::channel();
    thread::spawn(move || sender.send(exchange(Path::new(&path), &line)));
    let response = match response.recv_timeout(timeout + GRACE) {
        Ok(response) => response,
        Err(RecvTimeoutError::Timeout) => {
            let (socket, seconds) = (socket.to_owned(), timeout.as_secs());
            return Err(PluginError::Timeout { socket, seconds });
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let unreachable = |source| PluginError::Unreachable { socket: socket.to_owned(), source };
    let response = response.map_err(unreachable)?;
    match serde_json::from_str(&response).map_err(PluginError::Response)? {
        Response::Enforced => Ok(()),
        Response::Refused { reason } => Err(PluginError::NotEnforced(reason)),
    }
}

/// Writes one line and reads one.
fn exchange(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(line.as_bytes())?;
    let mut response = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut response)?;
    if response.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(response)
}

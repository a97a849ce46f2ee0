//! The end that lines are written to, on a thread of its own: a reader that is slow must not hold up
//! enforcement.

use std::{
    fs::File,
    io::{self, Write},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use super::{FlowLogError, Target};

/// Lines that wait for the reader; those beyond are left out.
const QUEUE: usize = 4096;

/// A queue of lines, and how many found no room in it.
#[derive(Debug)]
pub(super) struct Sink {
    lines: SyncSender<String>,
    lost: u64,
}

impl Sink {
    /// Opens the end, unless there is none.
    pub(super) fn open(target: &Target) -> Result<Option<Self>, FlowLogError> {
        let end: Box<dyn Write + Send> = match target {
            Target::Off => return Ok(None),
            Target::Stdout => Box::new(io::stdout()),
            Target::File(path) => {
                let file = File::options().append(true).create(true).open(path);
                let open = |source| FlowLogError::Open { path: path.clone(), source };
                Box::new(file.map_err(open)?)
            }
        };
        let (lines, queue) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("flow-log".to_owned())
            .spawn(move || drain(&queue, end))
            .map_err(FlowLogError::Thread)?;
        Ok(Some(Self { lines, lost: 0 }))
    }

    /// Hands a line on if there is room.
    pub(super) fn write(&mut self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) if self.lost > 0 => {
                tracing::warn!(lines = self.lost, "the reader of the flow log was too slow");
                self.lost = 0;
            }
            Ok(()) => {}
            // The thread ends with its reader.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }
}

fn drain(queue: &Receiver<String>, mut end: impl Write) {
    for line in queue {
        let written = writeln!(end, "{line}").and_then(|()| end.flush());
        if let Err(error) = written {
            tracing::warn!("the flow log ends here: {error}");
            return;
        }
    }
}

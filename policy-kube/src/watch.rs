//! Watches of all resources, as a stream of changes for the agent.
//!
//! Input: a client. Output: [`WatchEvent`]s: changes of the snapshot, the end of each list, and
//! whether a watch works. Nothing is to be enforced before each resource was listed once. One task
//! runs for each resource; `kube`'s watcher does the list, the watch, the resume and the backoff.
//!
//! The life of a watch, where the server streams lists (1.32 and newer; an older one sends pages,
//! with the same events):
//!
//! ```text
//! request                               response               events
//! ?watch=true&sendInitialEvents=true    ADDED a, ADDED b       Changed(a), Changed(b)
//!                                       BOOKMARK, version 7    Listed {a, b}
//!                                       MODIFIED a             Changed(a)
//!                                       end, after 290 s       -
//! ?watch=true&resourceVersion=8         410 Gone               - (b was deleted long ago)
//! ?watch=true&sendInitialEvents=true    ADDED a, BOOKMARK      Changed(a), Listed {a}: b is deleted
//! ?watch=true&resourceVersion=9         403 Forbidden          Broken, retried with growing waits
//! ?watch=true&resourceVersion=9         200, stays open        Recovered, after 2 s
//! ```

mod event;
mod failure;
mod follower;
mod requests;
mod streaming;

use std::time::Duration;

use backon::{BackoffBuilder, ConstantBuilder};
use tokio::{
    sync::mpsc::{self, Receiver},
    time::sleep,
};

use crate::{Client, RESOURCES};
use follower::{End, Follower};

pub use event::WatchEvent;

/// Events that wait for the receiver: a list is read no faster than it is taken.
const QUEUE: usize = 1024;
/// Time after which a resource that the server does not have is requested again, with as much
/// jitter: all agents of a cluster ask.
const ABSENT: Duration = Duration::from_secs(20);

/// Watches every resource until the receiver is dropped.
///
/// # Panics
///
/// Outside of a tokio runtime with I/O and time enabled.
#[must_use]
pub fn watch(client: &Client) -> Receiver<WatchEvent> {
    let (events, receiver) = mpsc::channel(QUEUE);
    for resource in RESOURCES {
        tokio::spawn(follow(Follower::new(client, resource, events.clone())));
    }
    receiver
}

/// Watches one resource until the receiver is dropped.
async fn follow(mut follower: Follower) {
    let waits = ConstantBuilder::new().with_delay(ABSENT).without_max_times().with_jitter();
    let mut waits = waits.build();
    loop {
        match follower.run().await {
            End::ReceiverDropped => return,
            End::Restart => {}
            End::Absent => sleep(waits.next().unwrap_or(ABSENT)).await,
        }
    }
}

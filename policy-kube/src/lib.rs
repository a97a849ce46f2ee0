//! Talks to a Kubernetes API server: the only crate of the product that names `kube` and `k8s-openapi`.
//!
//! Input: a kubeconfig and the [`RESOURCES`] that policy depends on. Output: changes of the model
//! ([`watch()`], used by the agent) or whole lists of JSON objects ([`list()`], used by `policyctl`).
//! `policyctl` also asks the agents of all nodes through the API server ([`agents()`]).
//! In the other direction, the agent writes warnings about objects as Kubernetes Events (`events`).
//!
//! Every object is read by `policy-manifest`, so that a cluster means the same as its dump.
//!
//! ```no_run
//! # async fn example() -> Result<(), policy_kube::Error> {
//! use policy_kube::{Access, Server, WatchEvent, watch};
//!
//! let server = Server::find(&Access::default()).await?;
//! let mut events = watch(&server.client_for_watches()?);
//! while let Some(event) = events.recv().await {
//!     match event {
//!         WatchEvent::Changed(change) => println!("changed: {change:?}"),
//!         WatchEvent::Listed(resource, names) => println!("{} {resource}", names.len()),
//!         WatchEvent::Unreadable(errors) => println!("{} errors", errors.len()),
//!         WatchEvent::Broken(resource, error) => println!("{resource}: {error}"),
//!         WatchEvent::Recovered(resource) => println!("{resource} are watched"),
//!         WatchEvent::Disappeared(resource) => println!("the server has no {resource} any more"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod agents;
mod decode;
mod error;
mod events;
mod foreign;
mod kinds;
mod list;
mod presence;
mod server;
mod watch;

pub use agents::{AgentAnswer, AgentError, AgentPod, agents, ask_agents};
pub use error::Error;
pub use events::{ActiveWarnings, Warning, write_events};
pub use foreign::{ForeignList, list_foreign};
pub use kinds::{RESOURCES, Resource, deletions};
pub use list::list;
pub use server::{Access, Client, Server};
pub use watch::{WatchEvent, watch};

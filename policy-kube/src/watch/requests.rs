//! A client that reports each request which the server grants, and paces new watches.
//!
//! Input: the client of a watch. Output: the same client, wrapped, and a receiver that changes at each
//! successful response. `kube`'s watcher reports nothing when it resumes a watch where it
//! stopped, so that this is the only sign that a broken watch works.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, watch},
    time::{self, MissedTickBehavior},
};
use tower::service_fn;

/// Shortest time between two watch requests, for a server that ends each at once.
const PACE: Duration = Duration::from_secs(1);

/// Wraps a client.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub(super) fn observed(client: &kube::Client) -> (kube::Client, watch::Receiver<()>) {
    let (granted, grants) = watch::channel(());
    let granted = Arc::new(granted);
    let mut pace = time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pace = Arc::new(Mutex::new(pace));
    let (inner, namespace) = (client.clone(), client.default_namespace().to_owned());
    let service = service_fn(move |request| {
        let (client, granted, pace) = (inner.clone(), Arc::clone(&granted), Arc::clone(&pace));
        async move {
            let request: http::Request<kube::client::Body> = request;
            // The pages of one list do not wait for each other.
            if request.uri().query().is_some_and(|query| query.contains("watch=")) {
                pace.lock().await.tick().await;
            }
            let response = client.send(request).await?;
            if response.status().is_success() {
                granted.send_replace(());
            }
            Ok::<_, kube::Error>(response)
        }
    });
    (kube::Client::new(service, namespace), grants)
}

//! A client that tells when the server has answered, and that is no burden to a broken one.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    sync::{Mutex, watch},
    time::{self, MissedTickBehavior},
};
use tower::service_fn;

/// Least time between two watches that a server ends at once.
const PACE: Duration = Duration::from_secs(1);

/// A client of the same server, and a word for each request that it grants: a watch that begins
/// again where it was has nothing else to tell of that.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub(super) fn noted(client: &Client) -> (Client, watch::Receiver<()>) {
    let (granted, answers) = watch::channel(());
    let granted = Arc::new(granted);
    let mut pace = time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pace = Arc::new(Mutex::new(pace));
    let (inner, namespace) = (client.clone(), client.default_namespace().to_owned());
    let service = service_fn(move |request| {
        let (client, granted, pace) = (inner.clone(), Arc::clone(&granted), Arc::clone(&pace));
        async move {
            let request: http::Request<kube::client::Body> = request;
            // What is listed in pages is not to wait.
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
    (Client::new(service, namespace), answers)
}

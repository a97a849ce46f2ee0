//! Judges every observed connection by the manifests and the printed policies together.

use policy_core::{
    compile::{Scope, compile},
    explain::Explainer,
    model::Snapshot,
};
use policy_manifest::{Manifests, Source};
use policy_probe::input::InputError;

use super::{
    connection::{ObservedConnection, PodOrAddress},
    needs,
    not_expressed::NotExpressed,
};
use crate::error::Error;

/// The connections that stay denied, and by which policies.
pub(super) fn still_denied(
    manifests: &Manifests,
    text: &str,
    connections: &[ObservedConnection],
) -> Result<Vec<NotExpressed>, Error> {
    let source = Source { name: "the suggested policies".to_owned(), text: text.to_owned() };
    let new = policy_manifest::read(&[source]).map_err(InputError::Manifests)?;
    let mut snapshot: Snapshot = manifests.snapshot.clone();
    snapshot.policies.extend(new.snapshot.policies);
    let (desired, _) = compile(&snapshot, Scope::Cluster);
    let explainer = Explainer::new(&snapshot, &desired);
    let mut denied = Vec::new();
    for connection in connections {
        let to_itself = [(connection.to.clone(), connection.port)];
        // Also at the Service itself, which policies of the cluster may deny.
        for (to, port) in connection.backends.iter().chain(&to_itself) {
            if connection.from == *to || !is_pod(&connection.from) && !is_pod(to) {
                continue;
            }
            let asked = needs::question(connection, to, *port);
            let found = asked.and_then(|asked| explainer.explain(&asked));
            let Some(found) = found.filter(|found| !found.allowed()) else { continue };
            let by = [(&found.egress, "egress"), (&found.ingress, "ingress")];
            let by = by.into_iter().filter(|(verdict, _)| !verdict.allowed);
            let by = by.flat_map(|(verdict, direction)| {
                let names = verdict.by.iter().map(move |by| {
                    format!("{direction} by {} {}", by.policy.kind_name(), by.policy)
                });
                names.collect::<Vec<_>>()
            });
            let by: Vec<String> = by.collect();
            let reason = format!("stays denied: {}", by.join(", "));
            denied.push(NotExpressed::of(connection, reason));
        }
    }
    Ok(denied)
}

fn is_pod(end: &PodOrAddress) -> bool {
    matches!(end, PodOrAddress::Pod(_))
}

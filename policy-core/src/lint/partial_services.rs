//! NP011: Services that egress policies open only in part.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    desired::{AllowMap, Frontend, FrontendOutcome, Isolation},
    model::{Direction, FieldPath, Kind, ObjectName, ObjectRef, Service},
    names::first_few,
};

use super::{
    context::{Context, LISTED},
    finding::{FieldRef, Level, Report},
};

/// Services with both allowed and denied backends: connections go to the allowed ones (S40).
pub(super) fn check(context: &Context<'_>, report: &mut Report) {
    // Pods with equal allow maps get the same verdict, so each map is judged once.
    let mut by_allow_map: BTreeMap<&AllowMap, (&Isolation, Vec<&ObjectName>)> = BTreeMap::new();
    for name in context.desired().endpoints.keys() {
        if let Some(isolation) = context.isolation(name, Direction::Egress) {
            let allow_map = &*isolation.allow_map;
            by_allow_map.entry(allow_map).or_insert((isolation, Vec::new())).1.push(name);
        }
    }
    for (name, service) in &context.snapshot.services {
        let denied: BTreeSet<&ObjectName> = by_allow_map
            .values()
            .filter(|(isolation, _)| is_partly_denied(context, isolation, service))
            .flat_map(|(_, pods)| pods.iter().copied())
            .collect();
        if !denied.is_empty() {
            let object = ObjectRef::namespaced(Kind::Service, name);
            report.add(
                FieldRef { object, field: FieldPath::root() },
                Level::Warning,
                format!(
                    "some backends are allowed to {} and some are not, so connections go to \
                     the allowed ones alone",
                    first_few(denied, LISTED)
                ),
                "allow all backends, at the port of the backend and not of the Service",
            );
        }
    }
}

fn is_partly_denied(context: &Context<'_>, isolation: &Isolation, service: &Service) -> bool {
    let addresses = || service.cluster_ips.iter().chain(&service.external_ips);
    service.ports.iter().any(|port| {
        addresses().any(|address| {
            let frontend = Frontend { address: *address, protocol: port.protocol, port: port.port };
            matches!(
                context.desired().outcome(isolation, &frontend),
                Some(FrontendOutcome::Some(_))
            )
        })
    })
}

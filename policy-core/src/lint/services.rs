//! Services that egress policies open only in part.

use std::collections::{BTreeMap, BTreeSet};

use policy_common::drops::Reason;

use crate::{
    desired::AllowMap,
    model::{Direction, FieldPath, Kind, ObjectName, ObjectRef},
};

use super::{
    Level, Report, Subject,
    context::{Context, some},
};

/// Services of which some backends are allowed and some are not: connections are dropped (S40).
pub(super) fn partial(context: &Context<'_>, report: &mut Report) {
    // Pods of equal content share the verdict, so each content is asked once.
    let mut askers: BTreeMap<&AllowMap, Vec<&ObjectName>> = BTreeMap::new();
    for (name, endpoint) in &context.desired.endpoints {
        if let Some(isolation) = &endpoint.isolation.egress {
            askers.entry(&*isolation.allow_map).or_default().push(name);
        }
    }
    for (service, object) in &context.snapshot.services {
        let mut denied: BTreeSet<&ObjectName> = BTreeSet::new();
        for pods in askers.values() {
            let endpoint = pods.first().and_then(|name| context.desired.endpoints.get(*name));
            let Some(isolation) = endpoint.and_then(|endpoint| endpoint.isolation.egress.as_ref())
            else {
                continue;
            };
            let partly = object.ports.iter().any(|port| {
                object.cluster_ips.iter().chain(&object.external_ips).any(|&address| {
                    let judged = context.desired.judge(
                        isolation,
                        Direction::Egress,
                        address,
                        port.protocol,
                        port.port,
                    );
                    judged == Err(Reason::ServicePartlyDenied)
                })
            });
            if partly {
                denied.extend(pods);
            }
        }
        if !denied.is_empty() {
            report.add(
                Subject {
                    object: ObjectRef::namespaced(Kind::Service, service),
                    field: FieldPath::root(),
                },
                Level::Warning,
                format!(
                    "some of its backends are allowed to {}, and some are not, so it is shut",
                    some(denied)
                ),
                "allow all backends, at the port of the backend and not of the Service",
            );
        }
    }
}

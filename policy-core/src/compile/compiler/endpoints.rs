//! The endpoints of the result, from the pods of the scope and their allow maps.

use std::sync::Arc;

use crate::{
    compile::{
        allow::{AllowDelta, AllowMapId},
        desired::{AllowMap, DesiredEndpoint, Isolation},
        rules::{RulesDelta, Subject},
        services::ServicesDelta,
    },
    model::{Direction, ObjectName, PerDirection, Pod, Snapshot},
};

use super::Stages;

impl Stages {
    /// Writes the endpoints that may have changed; returns how many these are.
    pub(super) fn write_endpoints(
        &mut self,
        snapshot: &Snapshot,
        rules: &RulesDelta,
        allow: &AllowDelta,
        services: &ServicesDelta,
    ) -> usize {
        let maps = |id: &AllowMapId| allow.entries.contains_key(id) || services.maps.contains(id);
        let mut written = 0;
        let nothing =
            allow.entries.is_empty() && services.maps.is_empty() && services.hairpins.is_empty();
        // Pods with the same policies as before have another endpoint where their allow map changed,
        // or where a frontend leads back to them now or no longer.
        if !nothing {
            for (name, subject) in self.rules.subjects() {
                let has_other_map = || {
                    let own = self.allow.subjects().get(name);
                    own.into_iter().flat_map(PerDirection::values).flatten().any(maps)
                };
                let is_led_back =
                    || subject.addresses.iter().any(|one| services.hairpins.contains(one));
                if rules.subjects.contains(name) || !(has_other_map() || is_led_back()) {
                    continue;
                }
                written += 1;
                if let Some(pod) = snapshot.pods.get(name) {
                    let endpoint = self.endpoint(snapshot, name, pod, subject);
                    self.desired.endpoints.insert(name.clone(), endpoint);
                }
            }
        }
        for name in &rules.subjects {
            let before = match (self.rules.subjects().get(name), snapshot.pods.get(name)) {
                (Some(subject), Some(pod)) => {
                    let endpoint = self.endpoint(snapshot, name, pod, subject);
                    self.desired.endpoints.insert(name.clone(), endpoint);
                    true
                }
                _ => self.desired.endpoints.remove(name).is_some(),
            };
            written += usize::from(before);
        }
        written
    }

    fn endpoint(
        &self,
        snapshot: &Snapshot,
        name: &ObjectName,
        pod: &Pod,
        subject: &Subject,
    ) -> DesiredEndpoint {
        let maps = self.allow.subjects().get(name).copied().unwrap_or_default();
        let isolation = PerDirection::from_fn(|direction| {
            let allow_map = self.allow_map(direction, maps[direction]?, subject)?;
            let policies = self.rules.policies(&subject.policies[direction]);
            let policies = policies.map(|(name, _)| name.clone()).collect();
            Some(Isolation { allow_map, policies })
        });
        let (uid, addresses) = (pod.uid.clone(), subject.addresses.clone());
        let namespace = snapshot.namespaces.get(&name.namespace);
        let may_spoof = namespace.is_some_and(|namespace| namespace.may_spoof);
        let deny_reply = namespace.and_then(|namespace| namespace.deny_reply);
        DesiredEndpoint { uid, addresses, may_spoof, deny_reply, is_tracked: false, isolation }
    }

    fn allow_map(
        &self,
        direction: Direction,
        map: AllowMapId,
        subject: &Subject,
    ) -> Option<Arc<AllowMap>> {
        match direction {
            Direction::Ingress => self.allow.with_map(map).map(|(_, map)| Arc::clone(map)),
            Direction::Egress => self.services.allow_map_of(map, &self.allow, &subject.addresses),
        }
    }
}

//! Steps of a plan, carried out one after the other.

use std::{collections::BTreeSet, time::Duration};

use policy_common::endpoint::Endpoint;
use policy_core::{adopt, desired::NodeKind, plan::Step};

use tokio::time::Instant;

use super::{Node, NodeError};
use crate::net::{Tracked, tracked};

/// How long pods stay tracked, and open, for the sake of connections from before: whoever fills the
/// kernel's table shall gain no more.
const PATIENCE: Duration = Duration::from_millis(300);

impl Node {
    /// Carries out steps. An interface of a new pod that cannot be attached to holds up no other:
    /// such endpoints are returned when all else is done.
    pub(super) async fn carry_out(
        &mut self,
        steps: &[Step],
    ) -> Result<Vec<(Endpoint, NodeError)>, NodeError> {
        let mut refused = Vec::new();
        let put = |step: &Step| matches!(step, Step::PutContent { .. });
        for steps in steps.chunk_by(|one, next| put(one) && put(next)) {
            if let [Step::PutContent { .. }, _, ..] = steps {
                self.put_contents(steps)?;
                continue;
            }
            let [step] = steps else { continue };
            if let Err(source) = self.dataplane.apply(step) {
                let newcomer = self.newcomer(step);
                let (step, source) = (Box::new(step.clone()), Box::new(source));
                let error = NodeError::Step { step, source };
                let Some(endpoint) = newcomer else { return Err(error) };
                // A plan may write it several times.
                let is_same = |(other, _): &(Endpoint, _)| other.ifindex == endpoint.ifindex;
                if !refused.iter().any(is_same) {
                    refused.push((endpoint, error));
                }
                continue;
            }
            self.actual.apply(step);
            if let Step::AdoptFlows { interfaces } = step {
                self.adopt_flows(interfaces).await;
            }
        }
        Ok(refused)
    }

    /// Carries out steps that put contents.
    fn put_contents(&mut self, steps: &[Step]) -> Result<(), NodeError> {
        let contents = steps.iter().filter_map(|step| {
            let Step::PutContent { content, entries } = step else { return None };
            Some((*content, entries.as_slice()))
        });
        let put = self.dataplane.put_contents(contents);
        let count = steps.len();
        put.map_err(|source| NodeError::Contents { count, source: Box::new(source) })?;
        for step in steps {
            self.actual.apply(step);
        }
        Ok(())
    }

    /// The endpoint that a step would put where none is.
    fn newcomer(&self, step: &Step) -> Option<Endpoint> {
        let Step::PutEndpoint(new) = step else { return None };
        (!self.actual.endpoints().contains_key(&new.ifindex)).then_some(*new)
    }

    /// Writes what connection tracking knows of pods that are about to be isolated. Where it cannot
    /// be asked, they are isolated all the same.
    async fn adopt_flows(&mut self, interfaces: &BTreeSet<u32>) {
        let deadline = Instant::now() + PATIENCE;
        let Tracked { connections, is_cut_short } = match tracked(deadline).await {
            Ok(tracked) => tracked,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "connections from before are not known");
                return;
            }
        };
        let own = self.actual.node_addresses();
        let own = own.filter_map(|(address, kind)| (kind == NodeKind::Own).then_some(address));
        let endpoints = self.actual.endpoints();
        let flows = adopt::flows(&connections, interfaces, endpoints, &own.collect());
        match self.dataplane.adopt_flows(&flows, deadline.into_std()) {
            Ok(written) if written && !is_cut_short => {}
            Ok(_) => tracing::warn!(
                "so many connections are tracked that not all from before are known: \
                 the next packet of the others is judged as if either end had opened them"
            ),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "not all connections from before are recorded");
            }
        }
    }
}

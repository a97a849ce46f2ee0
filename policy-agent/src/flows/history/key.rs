//! What the packets of one flow have in common, and the flow as JSON.

use std::mem::size_of;

use policy_core::{
    attribute::{Decision, Denial},
    model::{Direction, PolicyRef},
};
use policy_report::flows::{FlowVerdict, ReportedEnd, ReportedFlow, ReportedPolicy};

use super::counts::{EndCounts, FlowCounts};
use crate::flows::{
    end::FlowEnd,
    line,
    packet::{self, DroppedPacket},
};

/// Bytes that a map and the allocator add to each flow.
const OVERHEAD: usize = 128;

/// What the packets of one flow have in common, beside the end at this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowKey {
    pub(super) remote: Option<FlowEnd>,
    /// Of the rules that decided; otherwise of the hook that dropped the packet.
    pub(super) direction: Direction,
    pub(super) reason: &'static str,
    pub(super) decision: Option<&'static str>,
    /// `None` where the packet is not IP.
    pub(super) protocol: Option<u8>,
    pub(super) port: Option<u16>,
    pub(super) policies: Vec<(PolicyRef, Option<usize>)>,
}

impl FlowKey {
    pub(super) fn of(packet: &DroppedPacket<'_>) -> Self {
        let DroppedPacket { record, remote, denial, .. } = packet;
        let direction = denial.as_ref().map_or(packet.direction, |denial| denial.direction);
        let decision = denial.as_ref().map(Denial::decision);
        let is_ip = packet::is_ip(record);
        let policies = packet.policies().into_iter();
        Self {
            remote: packet.end(remote),
            direction,
            reason: line::reason(record.reason, decision),
            decision: decision.map(Decision::name),
            protocol: is_ip.then_some(record.protocol),
            port: packet.destination_port(direction).map(|(_, port)| port),
            policies: policies.map(|(policy, rule)| (policy.clone(), rule)).collect(),
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let policies = self.policies.iter().map(|(policy, _)| {
            let names = policy.namespace().map_or(0, str::len) + policy.name().len();
            size_of::<(PolicyRef, Option<usize>)>() + names
        });
        let remote = match &self.remote {
            Some(FlowEnd::Workload(kind, name)) => {
                kind.len() + name.namespace.len() + name.name.len()
            }
            Some(FlowEnd::Pod(name)) => name.namespace.len() + name.name.len(),
            Some(FlowEnd::Node(name)) => name.len(),
            Some(FlowEnd::Block(_)) | None => 0,
        };
        OVERHEAD + size_of::<Self>() + remote + policies.sum::<usize>()
    }

    /// The flow as JSON.
    pub(super) fn report(&self, local: Option<&FlowEnd>, counts: &FlowCounts) -> ReportedFlow {
        let here = end(local, &counts.local);
        let there = end(self.remote.as_ref(), &counts.remote);
        let (source, destination) = match self.direction {
            Direction::Ingress => (there, here),
            Direction::Egress => (here, there),
        };
        let policies = self.policies.iter().map(|(policy, rule)| ReportedPolicy {
            kind: policy.kind().name().to_owned(),
            namespace: policy.namespace().map(str::to_owned),
            name: policy.name().to_owned(),
            rule: *rule,
        });
        ReportedFlow {
            verdict: FlowVerdict::Deny,
            reason: self.reason.to_owned(),
            decision: self.decision.map(str::to_owned),
            direction: self.direction.name().to_owned(),
            source,
            destination,
            protocol: self.protocol.map(line::protocol),
            port: self.port,
            policies: policies.collect(),
            packets: counts.packets,
            bytes: counts.bytes,
            first: counts.first,
            last: counts.last,
        }
    }
}

fn end(end: Option<&FlowEnd>, counts: &EndCounts) -> ReportedEnd {
    let (kind, namespace, name) = match end {
        Some(FlowEnd::Workload(kind, name)) => {
            (kind.as_str(), Some(&name.namespace), Some(name.name.clone()))
        }
        Some(FlowEnd::Pod(name)) => ("Pod", Some(&name.namespace), Some(name.name.clone())),
        Some(FlowEnd::Node(name)) => ("Node", None, Some(name.clone())),
        Some(FlowEnd::Block(block)) => ("Block", None, Some(block.to_string())),
        None => ("Unknown", None, None),
    };
    ReportedEnd {
        kind: kind.to_owned(),
        namespace: namespace.cloned(),
        name,
        pods: counts.pods.iter().cloned().collect(),
        more_pods: counts.more_pods,
        address: counts.address,
    }
}

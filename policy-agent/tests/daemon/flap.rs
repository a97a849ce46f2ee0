//! A policy that changes all the time, under traffic that both of its states judge alike (S49).

use anyhow::Result;
use policy_agent::node::{Node, NodeConfig};

use crate::{
    machine::Machine,
    manifests::{ALLOW_5000, POD, snapshot},
    traffic::Traffic,
};

/// Changes from one state to the other and back.
const SWAPS: usize = 200;

/// As `ALLOW_5000` for the host and its ports, by other blocks and other ports; and a rule for
/// ingress that nobody uses.
const ALLOW_AROUND_5000: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: other, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{ipBlock: {cidr: 10.1.0.128/25}}]}]
  egress:
    - to: [{ipBlock: {cidr: 10.1.0.0/24, except: [10.1.0.64/26]}}]
      ports: [{protocol: UDP, port: 4990, endPort: 5000}, {protocol: TCP, port: 5001}]
";

#[test]
fn s49_no_packet_meets_a_third_state_while_two_are_swapped() -> Result<()> {
    let machine = Machine::new()?;
    machine.plug()?;
    let states = [ALLOW_5000, ALLOW_AROUND_5000];
    let [one, other] = states.map(|policy| snapshot(&format!("{POD}---{policy}")));
    let (one, other) = (one?, other?);
    machine.node.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        node.reconcile(&one).await?;
        let traffic = Traffic::start(&machine)?;
        for _ in 0..SWAPS / 2 {
            assert!(node.reconcile(&other).await?.steps > 0);
            assert!(node.reconcile(&one).await?.steps > 0);
        }
        traffic.finish()
    })
}

//! A policy that changes all the time, under traffic that both of its states judge alike (S49).

use std::{env, time::Instant};

use anyhow::Result;
use policy_agent::node::{Node, NodeConfig};

use crate::{
    flood::Flood,
    machine::Machine,
    manifests::{ALLOW_5000, POD, snapshot},
};

/// Changes from one state to the other, in the ordinary tests.
const SWAPS: usize = 100;
/// Names another number of them.
const COUNT: &str = "POLICY_FLAP_COUNT";

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
    let count = env::var(COUNT).map_or(Ok(SWAPS), |count| count.parse())?;
    let machine = Machine::new()?;
    machine.plug()?;
    let states = [ALLOW_5000, ALLOW_AROUND_5000];
    let [one, other] = states.map(|policy| snapshot(&format!("{POD}---{policy}")));
    let (one, other) = (one?, other?);
    machine.node.run(async || {
        let mut node = Node::start(NodeConfig::new("one"))?;
        node.reconcile(&one).await?;
        let flood = Flood::start(&machine)?;
        let start = Instant::now();
        for swap in 0..count {
            let next = if swap % 2 == 0 { &other } else { &one };
            assert!(node.reconcile(next).await?.steps > 0);
            if swap % 500 == 499 {
                println!("{} swaps, {} s", swap + 1, start.elapsed().as_secs());
            }
        }
        println!("{count} swaps in {:.1} s", start.elapsed().as_secs_f64());
        let denied = flood.finish()?;
        let dropped: u64 = node.dataplane().drop_counts()?.values().sum();
        assert_eq!(dropped, denied, "every drop is one of a denied datagram, and counted");
        Ok(())
    })
}

//! An agent that is busy for seconds still answers `/metrics` and ends on SIGTERM, and what is in force
//! stays (S48).

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    machine::{LIMIT, Machine, arrives, until},
    pins::enforced,
};

/// Policies of the burst, and pods that each of their peers is compared with.
const POLICIES: usize = 120;
const PODS: usize = 4_000;

/// Policies and pods that take seconds to compile.
fn burst() -> Result<String> {
    let mut text = String::new();
    for pod in 0..PODS {
        let (high, low) = (pod / 250, pod % 250 + 1);
        write!(
            text,
            "---\napiVersion: v1\nkind: Pod\n\
             metadata: {{name: p{pod}, namespace: default, labels: {{number: \"{pod}\"}}}}\n\
             spec: {{nodeName: two, containers: []}}\nstatus: {{podIPs: [{{ip: 10.9.{high}.{low}}}]}}\n"
        )?;
    }
    for policy in 0..POLICIES {
        let peer = |number: usize| {
            format!(
                "{{podSelector: {{matchExpressions: [{{key: number, operator: NotIn, values: [\"{}\"]}}]}}}}",
                policy * 31 + number
            )
        };
        let peers: Vec<String> = (0..10).map(peer).collect();
        write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
             metadata: {{name: n{policy}, namespace: default}}\n\
             spec:\n  podSelector: {{matchLabels: {{app: web}}}}\n  policyTypes: [Ingress]\n\
             \x20 ingress: [{{from: [{}], ports: [{{port: {}}}]}}]\n",
            peers.join(", "),
            policy + 1
        )?;
    }
    Ok(text)
}

/// How long the agent takes to answer; `None` if it did not answer well.
fn answer(machine: &Machine, path: &str) -> Option<Duration> {
    let start = Instant::now();
    machine.ask(path).is_ok_and(|text| text.contains("200 OK")).then(|| start.elapsed())
}

#[test]
fn s48_a_busy_agent_answers_metrics_within_a_second_and_ends_within_two() -> Result<()> {
    let (machine, agent) = enforced(&["--listen", "127.0.0.1:9100"])?;
    machine.write("burst.yaml", &burst()?)?;
    let read = || machine.said("stderr").contains("policies=121");
    until("the burst is read", LIMIT, || Ok(read())).with_context(|| machine.said("stderr"))?;
    let written = || machine.said("stderr").matches("enforced steps=").count();
    let before = written();
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    while start.elapsed() < Duration::from_secs(1) {
        slowest = slowest.max(answer(&machine, "/metrics").context("no metrics")?);
    }
    ensure!(slowest < Duration::from_secs(1), "/metrics took {slowest:?}");
    ensure!(
        written() == before,
        "the agent should be busy with the burst, so that this test shows something"
    );
    let status = agent.terminate_within(Duration::from_secs(2))?;
    assert_eq!(status.code(), Some(0));
    ensure!(arrives(&machine, 5000)? && !arrives(&machine, 5001)?, "what was in force stays");
    Ok(())
}

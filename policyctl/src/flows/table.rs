//! Flows as a table for people.

use jiff::Timestamp;
use policy_probe::{grid, terminal};

use super::node_flow::{NodeFlow, end_name, policy_name};

const HEADER: [&str; 9] = [
    "LAST",
    "VERDICT",
    "SOURCE",
    "DESTINATION",
    "PORT",
    "PACKETS",
    "DIRECTION",
    "REASON",
    "DECIDED BY",
];

/// The table, with its header.
pub(super) fn text(flows: &[NodeFlow], now: Timestamp) -> String {
    if flows.is_empty() {
        return "no flow\n".to_owned();
    }
    grid(HEADER, flows.iter().map(|flow| row(flow, now)), terminal::style()) + "\n"
}

/// One flow as a line, for `--follow`.
pub(super) fn line(flow: &NodeFlow) -> String {
    let [_, verdict, source, destination, port, packets, direction, reason, by] =
        row(flow, flow.flow.last);
    format!(
        "{:.0} {verdict} {source} -> {destination} {port} {packets} packets, {direction}, {reason}: {by}\n",
        flow.flow.last
    )
}

fn row(NodeFlow { node: _, flow }: &NodeFlow, now: Timestamp) -> [String; 9] {
    let protocol = flow.protocol.as_deref().unwrap_or("not IP");
    let port = flow.port.map_or_else(|| protocol.to_owned(), |port| format!("{port}/{protocol}"));
    let policies: Vec<String> = flow.policies.iter().map(policy_name).collect();
    [
        age(now.duration_since(flow.last).as_secs()),
        "deny".to_owned(),
        end_name(&flow.source),
        end_name(&flow.destination),
        port,
        flow.packets.to_string(),
        flow.direction.clone(),
        flow.reason.clone(),
        policies.join(", "),
    ]
}

/// `12s`, `5m` or `3h`, as kubectl prints an age.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_has_one_unit() {
        let ages = [-5, 0, 119, 120, 7199, 7200].map(age);
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "119m", "2h"]);
    }
}

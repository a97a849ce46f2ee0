//! Flows as they happen: the agents are asked again and again, and what has changed is printed.
//!
//! ```text
//! 09:30:00  shop/web -> shop/db 5432   6 packets    printed
//! 09:30:02  shop/web -> shop/db 5432   6 packets    known, not printed
//! 09:30:04  shop/web -> shop/db 5432   8 packets    printed again
//! ```

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use policy_probe::exit;
use policy_report::flows::FlowReport;

use super::{FlowFormat, FlowsArguments, NodeFlow, lines, table};
use crate::{
    agents::{AgentAnswers, Agents},
    error::Error,
    output,
};

/// Time between two requests.
const INTERVAL: Duration = Duration::from_secs(2);
/// Each request asks for flows from before the last answer: an agent may be slow.
const OVERLAP: Duration = Duration::from_secs(10);

/// Prints until the program is ended, or until nobody reads.
pub(super) fn run(agents: &Agents, arguments: &FlowsArguments) -> Result<u8, Error> {
    let since = Duration::from_secs(arguments.since.since);
    let start = Instant::now();
    // When each node has answered last; a node that was away is asked for all that it missed.
    let mut answered: BTreeMap<String, Instant> = BTreeMap::new();
    let (mut printed, mut missing) = (BTreeMap::new(), Vec::new());
    loop {
        let asked = Instant::now();
        let answers: AgentAnswers<FlowReport> = agents.ask(|agent| {
            let last = answered.get(&agent.node).map(|last| last.elapsed() + OVERLAP);
            let since = last.unwrap_or(since + start.elapsed());
            format!("/flows?since={}s", since.as_secs())
        })?;
        answered.extend(answers.nodes.iter().map(|(agent, _)| (agent.node.clone(), asked)));
        if answers.missing != missing {
            answers.report_missing(exit::FAILED);
        }
        missing.clone_from(&answers.missing);
        let mut changed = arguments.filter.of(&answers);
        changed.reverse();
        let mut news = Vec::new();
        for flow in changed {
            if has_changed(&mut printed, &flow)? {
                news.push(flow);
            }
        }
        let text = match arguments.output {
            FlowFormat::Table => news.iter().map(table::line).collect(),
            FlowFormat::Json | FlowFormat::Jsonl => lines(&news)?,
        };
        if output::is_closed_after(&text)? {
            return Ok(exit::FINE);
        }
        sleep(INTERVAL);
    }
}

/// Whether a flow has other counts than when it was printed last. An agent that has
/// started again counts from zero, so fewer packets are a change too.
fn has_changed(printed: &mut BTreeMap<String, u64>, flow: &NodeFlow) -> serde_json::Result<bool> {
    let packets = flow.flow.packets;
    Ok(printed.insert(flow.key()?, packets) != Some(packets))
}

#[cfg(test)]
mod tests {
    use super::{super::filter::example, *};

    #[test]
    fn a_flow_is_printed_again_when_it_has_other_counts() {
        let mut printed = BTreeMap::new();
        let mut flow = example("node1", "web", 5432);
        let mut news = |flow: &NodeFlow| has_changed(&mut printed, flow).ok();
        assert_eq!(news(&flow), Some(true));
        assert_eq!(news(&flow), Some(false), "nothing is new");
        flow.flow.packets += 1;
        flow.flow.source.pods.push("web-2".to_owned());
        assert_eq!(news(&flow), Some(true), "more packets");
        assert_eq!(news(&example("node2", "web", 5432)), Some(true), "another node");
        flow.flow.packets = 1;
        assert_eq!(news(&flow), Some(true), "the agent has started again");
        assert_eq!(printed.len(), 2, "the same flow is remembered once");
    }
}

//! Rolls out another build of the agent, with other programs and maps, and rolls it back (S48).
//!
//! bpftool shows which programs are attached on each node and how large the flow table is: after
//! each rollout they must be those of the new build, while traffic loses no packet.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::json;
use testbed::layout::Layout;
use testbed::{node, running_nodes};
use xtask::command::answer;
use xtask::image::{OTHER_NAME, OTHER_OBJECT};

use crate::cluster::TestCluster;
use crate::install;

const PINS: &str = "/sys/fs/bpf/policy";

/// A size of the flow table that is not the default.
const FLOWS: u32 = 65_536;

/// What runs in the kernel of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    /// Tags of the programs that are attached: a digest of their instructions.
    programs: BTreeSet<String>,
    /// Capacity of the flow table.
    flows: u64,
}

/// First other programs, then other maps too, then the first build: each time all must be exchanged.
pub(super) fn there_and_back(layout: &Layout, cluster: &TestCluster) -> Result<()> {
    let sets = cluster.client.namespaced::<DaemonSet>(install::NAMESPACE);
    let template = sets.get(install::AGENT)?.spec.template.spec;
    let container = template.and_then(|template| template.containers.into_iter().next());
    let container = container.context("the agent has no container")?;
    let (image, arguments) =
        container.image.zip(container.args).context("the agent has no image or arguments")?;
    let roll = |image: &str, more: &[String]| {
        let arguments = [&arguments, more].concat();
        let container = json!({"name": container.name, "image": image, "args": arguments});
        let change = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        sets.patch(install::AGENT, &change)?;
        install::rolled_out(cluster)
    };
    let (object, flows) = (format!("--bpf-object={OTHER_OBJECT}"), format!("--max-flows={FLOWS}"));
    let before = running(layout)?;
    roll(OTHER_NAME, std::slice::from_ref(&object))?;
    let others = running(layout)?;
    for (before, other) in before.iter().zip(&others) {
        ensure!(before.programs.is_disjoint(&other.programs), "{before:?} became {other:?}");
        ensure!(before.flows == other.flows, "{before:?} became {other:?}");
    }
    roll(OTHER_NAME, &[object, flows])?;
    for (now, other) in running(layout)?.iter().zip(&others) {
        ensure!(now.programs == other.programs, "{other:?} became {now:?}");
        ensure!(now.flows == u64::from(FLOWS), "{other:?} became {now:?}");
    }
    roll(&image, &[])?;
    let after = running(layout)?;
    ensure!(after == before, "{before:?} became {after:?}");
    println!("attached: {before:?}, meanwhile {others:?}");
    Ok(())
}

fn running(layout: &Layout) -> Result<Vec<Running>> {
    running_nodes(layout)?.iter().map(|name| of_node(layout, name)).collect()
}

fn of_node(layout: &Layout, name: &str) -> Result<Running> {
    let bpftool = |arguments: &[&str]| {
        let mut tool = node::inside(layout, name)?;
        let text = answer(tool.arg("bpftool").arg("--json").args(arguments));
        let text = text.with_context(|| format!("bpftool does not show {arguments:?}"))?;
        Ok::<serde_json::Value, anyhow::Error>(serde_json::from_str(&text)?)
    };
    let mut list = node::inside(layout, name)?;
    let links = answer(list.args(["find", &format!("{PINS}/links"), "-type", "f"]));
    let mut programs = BTreeSet::new();
    for link in links.context("no links")?.lines() {
        let id = bpftool(&["link", "show", "pinned", link])?["prog_id"].to_string();
        let tag = bpftool(&["prog", "show", "id", &id])?["tag"].as_str().map(str::to_owned);
        programs.insert(tag.context("a program without a tag")?);
    }
    let flows = bpftool(&["map", "show", "pinned", &format!("{PINS}/maps/flows4")])?;
    let flows = flows["max_entries"].as_u64().context("a map without a size")?;
    Ok(Running { programs, flows })
}

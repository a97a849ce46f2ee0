//! `cargo xtask e2e soak`: what happens to packets while the agent, the API server and pods come
//! and go.

mod burst;
mod field;
mod growth;
mod latency;
mod upgrade;

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use testbed::control_plane;
use testbed::layout::Layout;
use testbed::until;
use xtask::image::{self, Build};

use super::examples::{Target, on_own};
use super::{agents, install};
use field::{Count, Field};

/// What is tried, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    shape: testbed::Shape,
    /// How often an agent is killed
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    kills: u32,
    /// Rolling updates
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    updates: u32,
    /// Seconds for which the API server is away
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    away: u64,
    /// Pods that come and go
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    churn: u32,
    /// Pods that are made at once, and removed at once
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    burst: u32,
    /// Pods that stand by while changes are timed
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pods: u32,
    /// Changes of each kind that are timed
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    changes: u32,
    /// Only these; all by default
    #[arg(long, value_enum)]
    only: Vec<Scenario>,
    /// With the agent as the tests build it, which takes less time
    #[arg(long)]
    debug: bool,
    /// Leave the cluster as it is at the end
    #[arg(long)]
    keep: bool,
}

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Agents are killed under traffic and churn of policies
    Kills,
    /// The `DaemonSet` is updated
    Update,
    /// The `DaemonSet` gets another build, with other programs and layouts, and the first again
    Upgrade,
    /// The API server is away while pods die
    Away,
    /// Pods come and go; nothing of them may stay
    Churn,
    /// Many pods are made at once, and removed at once
    Burst,
    /// Changes are timed
    Latency,
}

/// A line of the result.
struct Line {
    what: String,
    took: Duration,
    counts: Count,
}

/// Does it all on a cluster of its own.
pub(super) fn run(options: &Options) -> Result<()> {
    let build = if options.debug { Build::Debug } else { Build::Release };
    on_own("soak", &options.shape, options.keep, build, |target| soak(target, options, build))
}

fn soak(target: &Target, options: &Options, build: Build) -> Result<()> {
    let layout = target.local.as_ref().context("the agents' processes are on this machine")?;
    let kubectl = &target.kubectl;
    let mut lines = Vec::new();
    let mut field = Field::set(kubectl)?;
    field.start("client", &["allow", "keep"])?;
    field.start("stranger", &["deny"])?;
    if field.settled()?.let_through == 0 {
        bail!(
            "without the agent nothing is let through: that nothing is with it would prove nothing"
        );
    }
    let during = |what: &str, field: &Field<'_>, act: &mut dyn FnMut() -> Result<()>| {
        let (start, before) = (Instant::now(), field.settled()?);
        act()?;
        let counts = field.settled()?.since(before);
        let line = Line { what: what.to_owned(), took: start.elapsed(), counts };
        println!("{line}");
        Ok::<_, anyhow::Error>(line)
    };
    let mut first = during("first installed under live connections", &field, &mut || {
        install::agent(kubectl).map(drop)
    })?;
    // Whoever came before the agent did was let through; connections are what this is about.
    first.counts.let_through = 0;
    lines.push(first);
    let is_wanted = |scenario| options.only.is_empty() || options.only.contains(&scenario);
    if is_wanted(Scenario::Kills) {
        lines.push(during(&format!("{} kills under churn", options.kills), &field, &mut || {
            kills(layout, &field, options.kills)
        })?);
    }
    if is_wanted(Scenario::Update) {
        lines.push(during(&format!("{} rolling updates", options.updates), &field, &mut || {
            updates(&field, options.updates)
        })?);
    }
    if is_wanted(Scenario::Upgrade) {
        testbed::load(layout, &image::build_other(build)?)?;
        lines.push(during("another build, and back", &field, &mut || {
            upgrade::there_and_back(layout, kubectl)
        })?);
    }
    if is_wanted(Scenario::Away) {
        lines.push(during(
            &format!("API server away for {} s", options.away),
            &field,
            &mut || away(layout, &field, options.away),
        )?);
    }
    if is_wanted(Scenario::Churn) {
        lines.push(during(&format!("{} pods come and go", options.churn), &field, &mut || {
            growth::churn(layout, kubectl, options.churn)
        })?);
    }
    if is_wanted(Scenario::Burst) {
        let what = format!("{} pods at once, and none", options.burst);
        lines.push(during(&what, &field, &mut || {
            burst::there_and_gone(layout, kubectl, options.burst)
        })?);
    }
    if is_wanted(Scenario::Latency) {
        lines.push(during(&format!("changes beside {} pods", options.pods), &field, &mut || {
            latency::measure(&field, options.pods, options.changes)
        })?);
    }
    println!();
    for line in &lines {
        println!("{line}");
    }
    if lines.iter().any(|line| !line.counts.is_clean()) {
        bail!("packets were lost or let through");
    }
    Ok(())
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, took, counts } = self;
        write!(f, "{what:42} {:>5} s  {counts}", took.as_secs())
    }
}

/// Each at a random moment after the last; whether the agent has come back is not waited for.
fn kills(layout: &Layout, field: &Field<'_>, count: u32) -> Result<()> {
    let mut done = 0;
    while done < count {
        field.churn_policies(done)?;
        thread::sleep(Duration::from_millis(fastrand::u64(..1500)));
        let node = if fastrand::bool() { "node1" } else { "node2" };
        if agents::kill(layout, node)? {
            done += 1;
        }
    }
    until("the agents' readiness", || install::rolled_out(field.kubectl).is_ok())
}

fn updates(field: &Field<'_>, count: u32) -> Result<()> {
    for number in 0..count {
        let change = json!({"spec": {"template": {"metadata": {"annotations": {"soak": number.to_string()}}}}});
        let set = [
            "-n",
            install::NAMESPACE,
            "patch",
            "daemonset",
            "policy-agent",
            "-p",
            &change.to_string(),
        ];
        field.kubectl.answer(&set)?;
        install::rolled_out(field.kubectl)?;
    }
    Ok(())
}

/// Pods that die lose their sandbox, so that the kubelet makes them anew, under other addresses.
fn away(layout: &Layout, field: &Field<'_>, seconds: u64) -> Result<()> {
    let victims = field.victims()?;
    control_plane::api_server(layout)?.end()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let each = Duration::from_secs(seconds) / u32::try_from(victims.len() + 1)?;
    for victim in &victims {
        thread::sleep(each);
        agents::kill_pod(victim)?;
    }
    thread::sleep(end.saturating_duration_since(Instant::now()));
    control_plane::start_api_server(layout)?;
    thread::sleep(Duration::from_secs(5));
    Ok(())
}

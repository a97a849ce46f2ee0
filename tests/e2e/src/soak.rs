//! `cargo xtask e2e soak`: counts packets that are lost or let through while agents, the API server
//! and pods restart.
//!
//! Traffic runs during the whole test (`traffic`). Each scenario is a disturbance; its line has the
//! tries during the disturbance and how many had the wrong outcome. One wrong outcome fails the test.

mod burst;
mod deleted;
mod growth;
mod latency;
mod traffic;
mod upgrade;

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::api::apps::v1::DaemonSet;
use testbed::control_plane;
use testbed::layout::Layout;
use testbed::until;
use xtask::build::Profile;
use xtask::image;
use xtask::progress::Progress;

use super::cluster::{TestCluster, on_own};
use super::{NODES, agents, install};
use traffic::{Count, Traffic};

/// Which scenarios to run, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct SoakOptions {
    #[command(flatten)]
    shape: testbed::Shape,
    /// How many times an agent is killed
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    kills: u32,
    /// Number of rolling updates
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    updates: u32,
    /// Seconds for which the API server is down
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    away: u64,
    /// Pods that are created and removed
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    churn: u32,
    /// Pods that are created at once and removed at once
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    burst: u32,
    /// Pods of each kind that are deleted before an agent has attached to them
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    deleted: u32,
    /// Other pods on the cluster while changes are timed
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pods: u32,
    /// Changes of each kind that are timed
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    changes: u32,
    /// Run only these scenarios; all by default
    #[arg(long, value_enum)]
    only: Vec<Scenario>,
    /// Use the debug build of the agent, as the tests do; it compiles faster
    #[arg(long)]
    debug: bool,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// One kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Agents are killed while traffic runs and policies change
    Kills,
    /// The `DaemonSet` is updated
    Update,
    /// The `DaemonSet` gets another build with other programs and maps, then the first build again
    Upgrade,
    /// The API server is down while pods are killed
    Away,
    /// Pods are created and removed; nothing of them may be left
    Churn,
    /// Many pods are created at once and removed at once
    Burst,
    /// Pods are deleted before an agent has attached to them; nobody may reach them
    Deleted,
    /// Changes are timed
    Latency,
}

/// A line of the result.
struct SoakLine {
    what: String,
    took: Duration,
    counts: Count,
}

/// Runs the scenarios on a cluster of their own.
pub(super) fn run(options: &SoakOptions) -> Result<()> {
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    on_own("soak", &options.shape, options.keep, profile, |cluster| soak(cluster, options, profile))
}

fn soak(cluster: &TestCluster, options: &SoakOptions, profile: Profile) -> Result<()> {
    let layout = cluster.local.as_ref().context("the agents' processes are on this machine")?;
    let mut traffic = Traffic::create(cluster)?;
    traffic.start("client", &["allow", "keep"])?;
    traffic.start("stranger", &["deny"])?;
    if traffic.settled()?.let_through == 0 {
        bail!("without the agent nothing is let through, so the test would prove nothing");
    }
    let mut first = during("first installed under live connections", &traffic, || {
        install::agent(cluster).map(drop)
    })?;
    // Before the agent was ready everything passed; this line is about the connections.
    first.counts.let_through = 0;
    let mut lines = vec![first];
    for scenario in Scenario::value_variants() {
        if options.only.is_empty() || options.only.contains(scenario) {
            lines.push(scenario.run(layout, &traffic, options, profile)?);
        }
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

/// Counts the tries and their wrong outcomes while `act` runs.
fn during(what: &str, traffic: &Traffic<'_>, act: impl FnOnce() -> Result<()>) -> Result<SoakLine> {
    let (start, before) = (Instant::now(), traffic.settled()?);
    act()?;
    let counts = traffic.settled()?.since(before);
    let line = SoakLine { what: what.to_owned(), took: start.elapsed(), counts };
    println!("{line}");
    Ok(line)
}

impl Scenario {
    fn run(
        self,
        layout: &Layout,
        traffic: &Traffic<'_>,
        options: &SoakOptions,
        profile: Profile,
    ) -> Result<SoakLine> {
        let SoakOptions { kills, updates, away, churn, burst, deleted, pods, changes, .. } =
            *options;
        let cluster = traffic.cluster;
        match self {
            Self::Kills => during(&format!("{kills} kills under churn"), traffic, || {
                self::kills(layout, traffic, kills)
            }),
            Self::Update => during(&format!("{updates} rolling updates"), traffic, || {
                self::updates(traffic, updates)
            }),
            Self::Upgrade => {
                testbed::load(layout, &image::build_other(profile)?)?;
                during("another build, and back", traffic, || {
                    upgrade::there_and_back(layout, cluster)
                })
            }
            Self::Away => during(&format!("API server down for {away} s"), traffic, || {
                self::away(layout, traffic, away)
            }),
            Self::Churn => during(&format!("{churn} pods created and removed"), traffic, || {
                growth::churn(layout, &cluster.client, churn)
            }),
            Self::Burst => during(&format!("{burst} pods at once, and none"), traffic, || {
                burst::there_and_gone(layout, &cluster.client, burst)
            }),
            Self::Deleted => during(&format!("2 × {deleted} pods deleted early"), traffic, || {
                deleted::count_reached(traffic, deleted)
            }),
            Self::Latency => during(&format!("changes beside {pods} pods"), traffic, || {
                latency::measure(traffic, pods, changes)
            }),
        }
    }
}

impl fmt::Display for SoakLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, took, counts } = self;
        write!(f, "{what:42} {:>5} s  {counts}", took.as_secs())
    }
}

/// Kills agents at random intervals, without waiting until the last one is ready again.
fn kills(layout: &Layout, traffic: &Traffic<'_>, count: u32) -> Result<()> {
    let mut progress = Progress::start("killing agents", Some(count.into()));
    let mut done = 0;
    while done < count {
        traffic.churn_policies(done)?;
        progress.sleep(Duration::from_millis(fastrand::u64(..1500)));
        let node = NODES[fastrand::usize(..NODES.len())];
        if agents::kill(layout, node)? {
            done += 1;
            progress.part(node);
        }
    }
    progress.end("done");
    until("the agents' readiness", || install::rolled_out(traffic.cluster).is_ok())
}

fn updates(traffic: &Traffic<'_>, count: u32) -> Result<()> {
    let sets = traffic.cluster.client.namespaced::<DaemonSet>(install::NAMESPACE);
    let mut progress = Progress::start("rolling updates", Some(count.into()));
    for number in 0..count {
        sets.patch(install::AGENT, &install::annotated(&number.to_string()))?;
        install::rolled_out(traffic.cluster)?;
        progress.part(install::AGENT);
        progress.tick();
    }
    progress.end("done");
    Ok(())
}

/// Kills pods while the API server is down: the kubelet starts them again with other addresses.
fn away(layout: &Layout, traffic: &Traffic<'_>, seconds: u64) -> Result<()> {
    let victims = traffic.victims()?;
    control_plane::api_server(layout)?.end()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let each = Duration::from_secs(seconds) / u32::try_from(victims.len() + 1)?;
    let what = format!("{seconds} s without the API server, pods killed");
    let mut progress = Progress::start(&what, Some(u64::try_from(victims.len())?));
    for victim in &victims {
        progress.sleep(each);
        agents::kill_pod(victim)?;
        progress.part(victim);
    }
    progress.sleep(end.saturating_duration_since(Instant::now()));
    progress.end("done");
    control_plane::start_api_server(layout)?;
    thread::sleep(Duration::from_secs(5));
    Ok(())
}

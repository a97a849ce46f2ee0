//! `cargo xtask e2e plugin`: what pods reach before their policies are in force, and that the
//! chained plugin leaves no such time (S47).
//!
//! In each round pods start, and their containers connect before they do anything else. Rounds differ in
//! what happens meanwhile: no agent, a paused agent, killed agents, a rewritten CNI configuration.

mod configuration;
mod first_pods;
mod outcome;

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use k8s_openapi::api::apps::v1::DaemonSet;
use nix::sys::signal::Signal;
use serde_json::Value;
use testbed::layout::Layout;
use testbed::until;
use xtask::build::Profile;

use super::cluster::{TestCluster, on_own};
use super::metrics::{self, Times};
use super::{NODES, agents, install};
use configuration::Configuration;
use first_pods::FirstPods;
use outcome::Outcome;

/// Where a DaemonSet has the arguments of its container.
const ARGUMENTS: &str = "/spec/template/spec/containers/0/args";

/// How long to watch pods that must not start.
const HELD: Duration = Duration::from_secs(10);

/// How many pods, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct PluginOptions {
    #[command(flatten)]
    shape: testbed::Shape,
    /// Pods that try, in each round; there are half as many servers that they must not reach
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    pods: usize,
    /// Use the debug build of the agent, as the tests do; it compiles faster
    #[arg(long)]
    debug: bool,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// What a round must test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExpectedOutcome {
    /// Every try passes: otherwise a later round without passes would prove nothing.
    Open,
    /// Every try has the outcome that the policies demand.
    Closed,
    /// Allowed tries pass; denied ones may pass for a time that depends on the machine.
    NothingLost,
}

/// A line of the result.
struct RoundLine {
    what: &'static str,
    took: Duration,
    outcome: Outcome,
    /// From interface to enforcement.
    waited: Option<Times>,
}

/// What happens around the start of pods.
struct Round<'a> {
    what: &'static str,
    /// Part of the names of its pods.
    name: &'static str,
    want: ExpectedOutcome,
    before: &'a dyn Fn(&PluginTest<'_>) -> Result<()>,
    meanwhile: &'a dyn Fn(&PluginTest<'_>) -> Result<()>,
    /// Whether the same agents run before and after it.
    is_timed: bool,
}

struct PluginTest<'a> {
    cluster: &'a TestCluster,
    layout: &'a Layout,
    first_pods: FirstPods<'a>,
    pods: usize,
    lines: Vec<RoundLine>,
}

/// Runs all rounds on a cluster of their own.
pub(super) fn run(options: &PluginOptions) -> Result<()> {
    let profile = if options.debug { Profile::Debug } else { Profile::Release };
    on_own("plugin", &options.shape, options.keep, profile, |cluster| {
        let layout = cluster.local.as_ref().context("the agents' processes are on this machine")?;
        let first_pods = FirstPods::create(&cluster.client)?;
        let mut test =
            PluginTest { cluster, layout, first_pods, pods: options.pods, lines: Vec::new() };
        test.all()
    })
}

impl PluginTest<'_> {
    fn all(&mut self) -> Result<()> {
        self.plain("no agent", "none", ExpectedOutcome::Open)?;
        self.without()?;
        let configuration = Configuration::read(self.layout)?;
        let took = install::agent_with(self.cluster, install::WITH_PLUGIN)?;
        println!("agent and plugin ready after {:.1} s", took.as_secs_f64());
        configuration.has_plugin()?;
        self.with(&configuration)?;
        install::remove(self.cluster)?;
        install::left_nothing(self.layout)?;
        configuration.is_back()?;
        self.plain("all of it uninstalled", "after", ExpectedOutcome::Open)?;
        println!();
        for line in &self.lines {
            println!("{line}");
        }
        Ok(())
    }

    /// The agent without the plugin: paused, as installed, and without libcni's cache.
    fn without(&mut self) -> Result<()> {
        install::agent(self.cluster)?;
        self.round(&Round {
            what: "the agent alone, paused until all have tried",
            name: "late",
            want: ExpectedOutcome::Open,
            before: &|test| test.signal(Signal::SIGSTOP),
            meanwhile: &|test| {
                test.first_pods.tried("late", test.pods)?;
                test.signal(Signal::SIGCONT)
            },
            is_timed: false,
        })?;
        self.plain("the agent alone", "alone", ExpectedOutcome::NothingLost)?;
        let mut blind = install::objects(install::MANIFEST)?;
        let arguments = blind.iter_mut().find_map(|object| object.pointer_mut(ARGUMENTS));
        let arguments = arguments.and_then(Value::as_array_mut).context("no arguments")?;
        let count = arguments.len();
        arguments.retain(|one| !one.as_str().is_some_and(|one| one.starts_with("--cni-cache=")));
        ensure!(arguments.len() < count, "the cache is not named");
        self.cluster.client.apply(&blind)?;
        install::rolled_out(self.cluster)?;
        self.plain(
            "the agent alone, without libcni's cache",
            "status",
            ExpectedOutcome::NothingLost,
        )?;
        install::remove(self.cluster)
    }

    /// With the plugin, while agents are paused, killed or absent and the configuration is rewritten.
    fn with(&mut self, configuration: &Configuration) -> Result<()> {
        self.plain("the plugin", "with", ExpectedOutcome::Closed)?;
        self.round(&Round {
            what: "the plugin, agents paused for 10 s",
            name: "paused",
            want: ExpectedOutcome::Closed,
            before: &|test| test.signal(Signal::SIGSTOP),
            meanwhile: &|test| {
                test.none_starts()?;
                test.signal(Signal::SIGCONT)
            },
            is_timed: false,
        })?;
        self.round(&Round {
            what: "the plugin, agents killed all the time",
            name: "killed",
            want: ExpectedOutcome::Closed,
            before: &|_| Ok(()),
            meanwhile: &|test| test.kill(),
            is_timed: false,
        })?;
        self.round(&Round {
            what: "the plugin, no agent for 10 s",
            name: "gone",
            want: ExpectedOutcome::Closed,
            before: &|test| {
                let sets = test.cluster.client.namespaced::<DaemonSet>(install::NAMESPACE);
                sets.delete(install::AGENT)?;
                until("the end of the agents", || agents::are_gone(test.layout, &NODES))
            },
            meanwhile: &|test| {
                test.none_starts()?;
                install::agent_with(test.cluster, install::WITH_PLUGIN).map(drop)
            },
            is_timed: false,
        })?;
        let took = configuration.rewrite(configuration::over)?;
        println!("rewritten, the list has its entry again after {} ms", took.as_millis());
        self.plain("the plugin, its list rewritten", "rewritten", ExpectedOutcome::Closed)?;
        let took = configuration.rewrite(configuration::in_place_of)?;
        println!("replaced, the list has its entry again after {} ms", took.as_millis());
        self.plain("the plugin, its list replaced", "other", ExpectedOutcome::Closed)
    }

    /// A round in which pods start and nothing else happens.
    fn plain(
        &mut self,
        what: &'static str,
        name: &'static str,
        want: ExpectedOutcome,
    ) -> Result<()> {
        let (before, meanwhile) = (&|_: &PluginTest<'_>| Ok(()), &|_: &PluginTest<'_>| Ok(()));
        let is_timed = install::exists(self.cluster)?;
        self.round(&Round { what, name, want, before, meanwhile, is_timed })
    }

    /// Runs a round: pods start, `meanwhile` runs, and the tries are judged.
    fn round(&mut self, round: &Round<'_>) -> Result<()> {
        (round.before)(self)?;
        let before = if round.is_timed { self.waited()? } else { Times::default() };
        let start = Instant::now();
        self.first_pods.start(round.name, self.pods)?;
        (round.meanwhile)(self)?;
        let outcome = self.first_pods.tried(round.name, self.pods)?;
        let took = start.elapsed();
        let waited = if round.is_timed { Some(self.waited()?.since(&before)) } else { None };
        let line = RoundLine { what: round.what, took, outcome, waited };
        println!("{line}");
        match round.want {
            ExpectedOutcome::Open => ensure!(outcome.is_open(), "something was denied"),
            ExpectedOutcome::Closed => {
                ensure!(outcome.is_clean(), "a try had another outcome than the policies demand");
                self.counted()?;
            }
            ExpectedOutcome::NothingLost => ensure!(outcome.lost == 0, "something was lost"),
        }
        self.lines.push(line);
        self.first_pods.clear()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        NODES.iter().try_for_each(|node| agents::signal(self.layout, node, signal))
    }

    /// Kills agents while pods start.
    fn kill(&self) -> Result<()> {
        let end = Instant::now() + HELD;
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(fastrand::u64(..1000)));
            agents::kill(self.layout, NODES[usize::from(fastrand::bool())])?;
        }
        Ok(())
    }

    /// Fails if a container starts although no agent enforces its policies.
    fn none_starts(&self) -> Result<()> {
        thread::sleep(HELD);
        let started = self.first_pods.started()?;
        ensure!(started == 0, "{started} pods have started");
        Ok(())
    }

    /// From interface to enforcement, on all nodes.
    fn waited(&self) -> Result<Times> {
        NODES.iter().try_fold(Times::default(), |all, node| {
            Ok(all.and(&metrics::of(self.layout, node)?.times("policy_interface_wait_seconds")))
        })
    }

    /// Fails if no agent counted a dropped packet for a pod.
    fn counted(&self) -> Result<()> {
        let samples: Vec<_> =
            NODES.iter().map(|node| metrics::of(self.layout, node)).collect::<Result<_>>()?;
        for name in self.first_pods.names()? {
            let direction = if name.starts_with("first-") { "egress" } else { "ingress" };
            let labels = [format!("pod=\"{name}\""), format!("direction=\"{direction}\"")];
            let labels = labels.each_ref().map(String::as_str);
            let drops: f64 =
                samples.iter().map(|node| node.sum("policy_drops_total", &labels)).sum();
            ensure!(drops > 0.0, "no dropped packet of {name} was counted");
        }
        Ok(())
    }
}

impl fmt::Display for RoundLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, took, outcome, waited } = self;
        write!(f, "{what}: {} s; {outcome}", took.as_secs())?;
        match waited {
            Some(waited) => write!(f, "; from interface to enforcement {}", metrics::text(waited)),
            None => Ok(()),
        }
    }
}

//! What runs on each kernel, and how its outcome is read from the console.
//!
//! A step is a test program with a filter. The script prints a line before and after each step:
//!
//! ```text
//! @begin daemon
//! test kernel::clsact::s48_… ok
//! @end daemon 0 41
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xtask::command::{built, cargo, workspace};

/// A step: its name, its test program, and the filter of its tests.
struct Step {
    name: &'static str,
    program: &'static str,
    tests: &'static str,
    /// Whether it needs TCX links (Linux 6.6).
    needs_tcx: bool,
}

#[rustfmt::skip]
const STEPS: [Step; 9] = [
    Step { name: "instructions",    program: "daemon", tests: "instructions --nocapture",                needs_tcx: false },
    Step { name: "examples routed", program: "lab",    tests: "examples_hold_with_routed_veths",         needs_tcx: false },
    Step { name: "examples bridged", program: "lab",   tests: "examples_hold_on_bridges",                needs_tcx: false },
    Step { name: "filters",         program: "daemon", tests: "kernel::clsact --skip in_another_way",    needs_tcx: false },
    Step { name: "busy",            program: "daemon", tests: "kernel::busy",                            needs_tcx: false },
    Step { name: "flap",            program: "daemon", tests: "flap::",                                  needs_tcx: false },
    Step { name: "packets",         program: "packet", tests: "",                                        needs_tcx: false },
    Step { name: "links",           program: "daemon", tests: "pins:: in_another_way",                   needs_tcx: true },
    Step { name: "detach",          program: "daemon", tests: "detach::",                                needs_tcx: true },
];

/// The outcome of a step.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) passed: bool,
    seconds: u64,
    /// What it measured.
    measured: Vec<String>,
}

/// The test programs, and the agent that they start.
pub(super) struct Programs {
    agent: PathBuf,
    tests: Vec<(String, PathBuf)>,
}

/// Collects outcomes from the lines of the console.
#[derive(Default)]
pub(super) struct Reader {
    outcomes: Vec<Outcome>,
    measured: Vec<String>,
}

/// The names of the steps, in order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

/// Builds the test programs.
pub(super) fn build() -> Result<Programs> {
    let mut build = cargo();
    build.args(["test", "--no-run"]);
    build.args(["--package", "policy-agent-bin", "--package", "policy-ebpf"]);
    build.args(["--test", "daemon", "--test", "lab", "--test", "packet"]);
    let mut tests = built(&mut build)?;
    let agent = tests.iter().position(|(name, _)| name == "policy-agent");
    let (_, agent) = tests.remove(agent.context("cargo built no policy-agent")?);
    Ok(Programs { agent, tests })
}

impl Programs {
    /// Every program.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let tests = self.tests.iter().map(|(_, path)| path.as_path());
        std::iter::once(self.agent.as_path()).chain(tests)
    }
}

/// The script that runs as process 1.
pub(super) fn script(release: &str, programs: &Programs, modules: &[String]) -> Result<String> {
    let mut script = "#!/bin/sh\n\
        /bin/busybox --install -s /bin\n\
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp RUST_BACKTRACE=0\n\
        mount -t proc proc /proc\n\
        mount -t sysfs sys /sys\n\
        mount -t devtmpfs dev /dev\n\
        mount -t bpf bpf /sys/fs/bpf\n\
        mount -t tmpfs tmp /tmp\n"
        .to_owned();
    for module in modules {
        // A module may be built in, or need hardware.
        let _ = writeln!(script, "insmod /modules/{module} 2>/dev/null");
    }
    script.push_str("ip link set lo up\nuname -a\n");
    for step in of(release) {
        let program = programs.tests.iter().find(|(name, _)| name == step.program);
        let (_, program) =
            program.with_context(|| format!("cargo built no test program {}", step.program))?;
        let package = match step.program {
            "packet" => "policy-ebpf",
            _ => "policy-agent/bin",
        };
        let (name, program, tests) = (step.name, program.display(), step.tests);
        let _ = writeln!(
            script,
            "mkdir -p {0}/{package}; cd {0}/{package}; echo '@begin {name}'; start=$(date +%s)\n\
             {program} --test-threads 1 {tests}; code=$?\n\
             echo \"@end {name} $code $(($(date +%s) - start))\"",
            workspace().display()
        );
    }
    script.push_str("poweroff -f\n");
    Ok(script)
}

/// How many steps of a kernel failed or did not end.
pub(super) fn failed(release: &str, outcomes: &[Outcome]) -> usize {
    let passed = |step: &Step| outcomes.iter().any(|one| one.name == step.name && one.passed);
    of(release).filter(|step| !passed(step)).count()
}

/// The steps that a kernel can run.
fn of(release: &str) -> impl Iterator<Item = &'static Step> {
    let has_tcx = has_tcx(release);
    STEPS.iter().filter(move |step| has_tcx || !step.needs_tcx)
}

/// Whether a release has TCX links.
fn has_tcx(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

impl Reader {
    /// Reads a line of the console.
    pub(super) fn read(&mut self, line: &str) {
        // The name of the test may stand before it.
        if let Some((_, measured)) = line.split_once("@measured ") {
            self.measured.push(measured.to_owned());
        }
        let Some((_, end)) = line.split_once("@end ") else { return };
        let Some(step) = STEPS.iter().find(|step| end.starts_with(step.name)) else { return };
        let mut numbers = end[step.name.len()..].split_whitespace().map(str::parse::<u64>);
        let (code, seconds) = (numbers.next(), numbers.next());
        self.outcomes.push(Outcome {
            name: step.name,
            passed: code == Some(Ok(0)),
            seconds: seconds.and_then(Result::ok).unwrap_or_default(),
            measured: std::mem::take(&mut self.measured),
        });
    }

    /// The outcomes. A step that did not end, and those after it, are missing.
    pub(super) fn finish(self) -> Vec<Outcome> {
        self.outcomes
    }
}

impl Outcome {
    /// The cell of the table.
    pub(super) fn text(&self) -> String {
        let word = if self.passed { "ok" } else { "FAILED" };
        if self.measured.is_empty() {
            format!("{word} {} s", self.seconds)
        } else {
            format!("{word} {}", self.measured.join(" / "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, has_tcx};

    #[test]
    fn outcomes_are_read_from_the_console() {
        let mut reader = Reader::default();
        for line in ["@begin busy", "@measured 7", "@end busy 0 41", "@end examples bridged 101 3"]
        {
            reader.read(line);
        }
        let texts: Vec<_> = reader.finish().iter().map(super::Outcome::text).collect();
        assert_eq!(texts, ["ok 7", "FAILED 3 s"]);
    }

    #[test]
    fn a_step_that_did_not_end_failed() {
        let mut reader = Reader::default();
        for step in super::of("6.1.0") {
            reader.read(&format!("@end {} 0 1", step.name));
        }
        let mut outcomes = reader.finish();
        assert_eq!(super::failed("6.1.0", &outcomes), 0, "steps that need links are not run");
        outcomes.pop();
        assert_eq!(super::failed("6.1.0", &outcomes), 1);
        assert_eq!(super::failed("6.1.0", &[]), super::of("6.1.0").count(), "it did not boot");
    }

    #[test]
    fn links_need_linux_6_6() {
        let releases =
            ["5.10.0-46-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.117+deb12", "7.2.13+deb14"];
        assert_eq!(releases.map(has_tcx), [false, false, true, true]);
    }
}

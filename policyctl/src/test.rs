//! `policyctl test`: whether manifests allow and deny what people expect, in words.

mod cases;
mod ends;
mod failure;
mod judge;
mod junit;
mod text;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use policy_core::compile::{Scope, compile};
use policy_manifest::read_tests;
use policy_probe::{exit, input::InputError, terminal};
use serde::Serialize;

use crate::{
    error::Error,
    origin::OriginOptions,
    output::{self, Paint},
};
use cases::CaseResult;
use judge::Judge;

const EXAMPLES: &str = "\
Examples:
  policyctl test -R -f deploy/ tests.yaml
      judges each case of the file by the manifests of a repository
  policyctl test -f cluster.yaml tests.yaml -o junit > report.xml
      the same, for CI
  policyctl test -n shop tests.yaml
      by the cluster of the kubeconfig

A file of tests:
  namespace: shop                       # of names without one
  tests:
  - frontend can reach backend on 80
  - nobody reaches db but backend
  - web cannot reach the internet
  - name: payments are closed           # the same parts as a mapping
    from: [namespace other, {podSelector: {matchLabels: {app: batch}}}]
    to: deploy/payments
    ports: [443, 53/UDP, 8000-8010]
    expect: deny                        # or allow, only-from, only-to

Sentences:
  ENDS can reach ENDS [on PORTS]             each of them may connect
  ENDS cannot reach ENDS [on PORTS]          none of them may connect
  nobody reaches ENDS [but ENDS] [on PORTS]  those behind but may, and nobody else
  ENDS reaches nobody [but ENDS] [on PORTS]  the same in the other direction
  only ENDS reaches ENDS [on PORTS]          as nobody … but
  ENDS reaches only ENDS [on PORTS]          as … nobody but
Ends, with and or a comma between several:
  web, shop/web, deploy/web, svc/shop/web, host/NAME, 10.0.0.7, 10.0.0.0/8
  pods KEY=VALUE,KEY!=VALUE,KEY,!KEY [in NAMESPACE | in namespaces KEY=VALUE]
  namespace NAME, namespaces KEY=VALUE, every pod, everybody, the internet
Ports: 80, 53/UDP, 8000-8010/TCP, ICMP. Without a port, can reach needs one port that is open, and
cannot reach needs all ports to be closed.

Exit codes:
  0  every case holds
  1  a case does not hold
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    origin: OriginOptions,

    /// Namespace of names without one; by default that of the test file, and then every namespace
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// Files of tests
    #[arg(value_name = "TESTS", required = true)]
    tests: Vec<PathBuf>,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: TestFormat,
}

/// Form of the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TestFormat {
    /// For people
    #[default]
    #[value(alias = "table")]
    Text,
    /// For programs
    Json,
    /// A test case for each case, a suite for each file
    Junit,
}

/// The report for programs.
#[derive(Debug, Serialize)]
struct TestReport<'a> {
    tests: &'a [CaseResult],
    passed: usize,
    failed: usize,
}

/// Judges the cases; the exit code.
pub(crate) fn main(arguments: &TestArguments) -> Result<u8, Error> {
    let mut files = Vec::new();
    for path in &arguments.tests {
        let source = policy_files::read_file(path).map_err(InputError::Files)?;
        files.push(read_tests(&source).map_err(InputError::Manifests)?);
    }
    let origin = arguments.origin.read()?;
    let manifests = &origin.manifests;
    let asked: Vec<_> = files
        .iter()
        .flat_map(|file| {
            let own = arguments.namespace.as_deref().or(file.namespace.as_deref());
            let own = own.or(origin.namespace.as_deref());
            file.cases.iter().map(move |case| (case, own))
        })
        .collect();
    let (desired, faults) = compile(&manifests.snapshot, Scope::Cluster);
    let judge = Judge::new(manifests, &desired);
    let cases = ends::resolve(&judge, &asked).map_err(Error::TestEnds)?;
    let results: Vec<CaseResult> = cases.iter().map(|case| case.judge(&judge)).collect();
    let failed = results.iter().filter(|result| !result.passed).count();
    let report = TestReport { tests: &results, passed: results.len() - failed, failed };
    match arguments.output {
        TestFormat::Text => {
            let text = text::render(&report, Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &manifests.warnings())?;
        }
        TestFormat::Json => output::print(&output::Document::new(&report, manifests).json()?)?,
        TestFormat::Junit => output::print(&junit::render(&report, &manifests.warnings())?)?,
    }
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    terminal::notes(&faults);
    Ok(if failed == 0 { exit::FINE } else { exit::FINDINGS })
}

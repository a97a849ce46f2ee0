//! `policyctl lint`: policies that are legal, and probably do not do what their author means.
//!
//! Input: manifests or a cluster, and the settings of `.policyctl.yaml`. Output: findings with their
//! places, in one of several forms; with `--fix` the changed files too. The rules themselves are in
//! `policy_core::lint`.

mod codeclimate;
mod config;
mod edit;
mod fix;
mod github;
mod junit;
mod partial;
mod report;
mod sarif;
mod suppression;

use std::{fmt::Write, path::PathBuf};

use clap::{Args, ValueEnum};
use policy_core::lint::{self, Finding, Level, LintRule, RULES};
use policy_core::model::Pod;
use policy_manifest::Manifests;
use policy_probe::{exit, input::InputError, terminal};

use crate::{
    error::Error,
    origin::{Origin, OriginOptions},
    output,
    output::Paint,
    scope::ScopeOptions,
};
use config::Config;
use report::{Located, Report};
use suppression::Sorted;

const EXAMPLES: &str = "\
Examples:
  policyctl lint -f manifests/
      findings with file, line and column, and what to do
  policyctl lint -f manifests/ -o sarif > findings.sarif
      for code scanning
  policyctl lint -f manifests/ -o github
      comments beside the lines, in a workflow of GitHub
  policyctl lint -f manifests/ --deny error
      exit with 1 only for what has no effect as it is written
  policyctl lint -f manifests/ --fix --dry-run
      what --fix would change in the files
  policyctl lint --explain NP013
      explains a code
  policyctl lint -A
      the whole cluster of the kubeconfig
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml | policyctl lint -f -
      a dump of a cluster; selectors match only what the dump holds

A comment `# policyctl:ignore NP005 REASON` on or above a line suppresses a finding there.
The file .policyctl.yaml beside or above the manifests changes severities and leaves rules out.

Exit codes:
  0  no finding of the level of --deny or above
  1  a finding of that level or above
  2  bad input or usage
  3  the cluster cannot be read, or the tool itself failed";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct LintArguments {
    #[command(flatten)]
    origin: OriginOptions,

    #[command(flatten)]
    scope: ScopeOptions,

    /// What to print on standard output
    #[arg(short, long, value_enum, default_value_t)]
    output: LintFormat,

    /// Exit with 1 on findings of this level and above
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    deny: Deny,

    /// Fix in the files what needs no decision; nothing but the fixed lines changes
    #[arg(long)]
    fix: bool,

    /// With --fix: print the changes, and write nothing
    #[arg(long, requires = "fix")]
    dry_run: bool,

    /// Settings of the linter, instead of the .policyctl.yaml beside or above the manifests
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Explain a code such as NP013, and do nothing else
    #[arg(long, value_name = "CODE", conflicts_with_all = ["files", "kustomizations", "charts"])]
    explain: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LintFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For code scanning (SARIF 2.1.0)
    Sarif,
    /// For the log of a GitHub workflow, which shows each finding beside its line
    Github,
    /// For a test report (`JUnit` XML): a case for each rule
    Junit,
    /// For GitLab's report of code quality
    Codeclimate,
}

/// Findings that make the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// All
    Note,
    /// Warnings and errors
    #[default]
    Warning,
    /// Errors
    Error,
    /// None
    Never,
}

impl Deny {
    fn denies(self, level: Level) -> bool {
        match self {
            Self::Note => true,
            Self::Warning => level >= Level::Warning,
            Self::Error => level >= Level::Error,
            Self::Never => false,
        }
    }
}

/// Prints findings, or the explanation of a code; returns the exit code.
pub(crate) fn main(arguments: &LintArguments) -> Result<u8, Error> {
    if let Some(code) = &arguments.explain {
        output::print(&explain(code)?)?;
        return Ok(exit::FINE);
    }
    let config = Config::read(arguments.config.as_deref(), &arguments.origin.paths())?;
    let mut origin = match arguments.origin.read() {
        Err(Error::Input(InputError::Manifests(errors))) if report::are_findings(&errors) => {
            // The rest of a policy that the API server refuses cannot be checked.
            let note = "nothing else is checked until these are corrected";
            terminal::notes(&[note.to_owned()]);
            let findings = errors.iter().map(Located::refused).collect();
            let report = Report { findings, suppressed: Vec::new() };
            return answer(arguments, &report, &Manifests::default());
        }
        other => other?,
    };
    if !origin.manifests.snapshot.pods.values().any(Pod::is_subject) {
        let note = "there are no pods: what selectors match is not checked";
        terminal::notes(&[note.to_owned()]);
    }
    let mut sorted = check(arguments, &config, &origin)?;
    if arguments.fix {
        let fixed = fix::plan(&sorted.findings, &origin)?;
        terminal::notes(&fixed.notes);
        if arguments.dry_run {
            output::print(&fixed.diff())?;
            return Ok(arguments.code(&Report::new(&sorted, &origin)));
        }
        fixed.write()?;
        (origin.manifests, origin.sources) = (fixed.manifests, fixed.sources);
        sorted = check(arguments, &config, &origin)?;
    }
    answer(arguments, &Report::new(&sorted, &origin), &origin.manifests)
}

impl LintArguments {
    fn code(&self, report: &Report) -> u8 {
        let denied = report.findings.iter().any(|finding| self.deny.denies(finding.level));
        if denied { exit::FINDINGS } else { exit::FINE }
    }
}

/// The findings in what was read, without those that settings or suppressions leave out.
fn check(arguments: &LintArguments, config: &Config, origin: &Origin) -> Result<Sorted, Error> {
    let scope = arguments.scope.of(origin)?;
    let manifests = &origin.manifests;
    let mut findings = lint::lint(&manifests.snapshot, &manifests.left_out.undefined_namespaces);
    partial::demote(&mut findings, origin);
    let file = |finding: &Finding| {
        let place = manifests.places.find(&finding.object, &finding.field);
        place.map(|place| place.source.clone())
    };
    findings.retain(|finding| !config.leaves_out(finding.code, file(finding).as_deref()));
    for finding in &mut findings {
        finding.level = config.level(finding.code).unwrap_or(finding.level);
    }
    let mut sorted = suppression::sort(findings, origin, config);
    sorted.findings.retain(|finding| scope.holds_object(&finding.object));
    Ok(sorted)
}

/// Prints findings in their places; the exit code.
fn answer(arguments: &LintArguments, report: &Report, manifests: &Manifests) -> Result<u8, Error> {
    let (findings, warnings) = (&report.findings, manifests.warnings());
    match arguments.output {
        LintFormat::Text => {
            let text = report::text(report, Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &warnings)?;
        }
        LintFormat::Json => output::print(&output::Document::new(report, manifests).json()?)?,
        LintFormat::Sarif => output::print(&output::json(&sarif::log(report, &warnings))?)?,
        LintFormat::Github => {
            output::print_warned(&github::commands(findings), "::warning::", &warnings)?;
        }
        LintFormat::Junit => output::print(&junit::render(findings, arguments.deny, &warnings)?)?,
        LintFormat::Codeclimate => {
            output::print(&output::json(&codeclimate::issues(findings))?)?;
        }
    }
    Ok(arguments.code(report))
}

/// The explanation of a code.
fn explain(code: &str) -> Result<String, Error> {
    let rule = RULES.iter().find(|rule| rule.code.eq_ignore_ascii_case(code));
    let Some(LintRule { code, name, summary, explanation, .. }) = rule else {
        let known = RULES.iter().fold(String::new(), |mut known, rule| {
            let _ = writeln!(known, "  {}  {}", rule.code, rule.summary);
            known
        });
        return Err(Error::UnknownRule { code: code.to_owned(), known });
    };
    let sentences = explanation.replace(". ", ".\n");
    Ok(format!("{code} {name}: {summary}\n\n{sentences}\n"))
}

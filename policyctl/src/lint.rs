//! `policyctl lint`: policies that are legal, and probably do not do what their author means.

mod report;
mod sarif;

use std::fmt::Write;

use clap::{Args, ValueEnum};
use policy_core::lint::{self, Level, LintRule, RULES};
use policy_core::model::Pod;
use policy_manifest::Manifests;
use policy_probe::{exit, input::InputError, terminal};

use crate::{error::Error, origin::OriginOptions, output, output::Paint, scope::ScopeOptions};
use report::Located;

const EXAMPLES: &str = "\
Examples:
  policyctl lint -f manifests/
      findings with file, line and column, and what to do
  policyctl lint -f manifests/ -o sarif > findings.sarif
      for code scanning
  policyctl lint -f manifests/ --deny error
      exit with 1 only for what has no effect as it is written
  policyctl lint --explain NP013
      explains a code
  policyctl lint -A
      the whole cluster of the kubeconfig
  kubectl get ns,no,po,svc,endpointslices,netpol,clusternetworkpolicies -A -o yaml | policyctl lint -f -
      a dump of a cluster; selectors match only what the dump holds

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
    let origin = match arguments.origin.read() {
        Err(Error::Input(InputError::Manifests(errors))) if report::are_findings(&errors) => {
            // The rest of a policy that the API server refuses cannot be checked.
            let note = "nothing else is checked until these are corrected";
            terminal::notes(&[note.to_owned()]);
            let located: Vec<Located> = errors.iter().map(Located::refused).collect();
            return answer(arguments, &located, &Manifests::default());
        }
        other => other?,
    };
    let scope = arguments.scope.of(&origin)?;
    let manifests = &origin.manifests;
    if !manifests.snapshot.pods.values().any(Pod::is_subject) {
        let note = "there are no pods: what selectors match is not checked";
        terminal::notes(&[note.to_owned()]);
    }
    let mut findings = lint::lint(&manifests.snapshot, &manifests.left_out.undefined_namespaces);
    findings.retain(|finding| scope.holds_object(&finding.object));
    let mut located: Vec<Located> =
        findings.iter().map(|finding| Located::new(finding, &origin)).collect();
    located.sort_by(|a, b| a.place.cmp(&b.place));
    answer(arguments, &located, manifests)
}

/// Prints findings in their places; the exit code.
fn answer(
    arguments: &LintArguments,
    located: &[Located],
    manifests: &Manifests,
) -> Result<u8, Error> {
    match arguments.output {
        LintFormat::Text => {
            let text = report::text(located, Paint::of_stdout());
            output::print_warned(&text, output::WARNING, &manifests.warnings())?;
        }
        LintFormat::Json => {
            let findings = report::Findings { findings: located };
            output::print(&output::Document::new(&findings, manifests).json()?)?;
        }
        LintFormat::Sarif => {
            output::print(&output::json(&sarif::log(located, &manifests.warnings()))?)?;
        }
    }
    let denied = located.iter().any(|finding| arguments.deny.denies(finding.level));
    Ok(if denied { exit::FINDINGS } else { exit::FINE })
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

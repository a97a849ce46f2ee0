//! Renders charts and kustomizations by the programs that own these formats.
//!
//! Input: the folder that an option names. Output: one text, named after the option, for the reader
//! of manifests. Nothing is rendered that no option names.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use policy_manifest::Source;
use thiserror::Error;

/// Why something could not be rendered.
#[derive(Debug, Error)]
pub(crate) enum RenderError {
    /// None of the programs that can render it is installed.
    #[error("cannot render {}: install {programs}", path.display())]
    NoProgram { path: PathBuf, programs: &'static str },
    /// A program cannot be started.
    #[error("cannot start {program}")]
    Start {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// A program refused the folder.
    #[error("{program} cannot render {}:\n{message}", path.display())]
    Refused { program: &'static str, path: PathBuf, message: String },
    /// A program printed something else than text.
    #[error("the output of {program} for {} is not UTF-8", path.display())]
    NotUtf8 { program: &'static str, path: PathBuf },
}

/// The manifests of a kustomization, by `kubectl kustomize` or `kustomize build`.
pub(crate) fn kustomization(folder: &Path) -> Result<Source, RenderError> {
    let programs = "kubectl or kustomize";
    for (program, verb) in [("kubectl", "kustomize"), ("kustomize", "build")] {
        if let Some(text) = run(program, Command::new(program).arg(verb).arg(folder), folder)? {
            return Ok(Source { name: format!("-k {}", folder.display()), text });
        }
    }
    Err(RenderError::NoProgram { path: folder.to_owned(), programs })
}

/// The manifests of a Helm chart, by `helm template`.
pub(crate) fn chart(chart: &Path, values: &[PathBuf]) -> Result<Source, RenderError> {
    let mut helm = Command::new("helm");
    helm.arg("template").arg(chart);
    for file in values {
        helm.arg("--values").arg(file);
    }
    let text = run("helm", &mut helm, chart)?;
    let text =
        text.ok_or_else(|| RenderError::NoProgram { path: chart.to_owned(), programs: "helm" })?;
    Ok(Source { name: format!("--helm {}", chart.display()), text })
}

/// What a program prints; `None` where it is not installed.
fn run(
    program: &'static str,
    command: &mut Command,
    path: &Path,
) -> Result<Option<String>, RenderError> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RenderError::Start { program, source }),
    };
    let path = path.to_owned();
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        return Err(RenderError::Refused { program, path, message });
    }
    match String::from_utf8(output.stdout) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(RenderError::NotUtf8 { program, path }),
    }
}

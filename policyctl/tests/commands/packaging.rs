//! What others run: the GitHub action, the GitLab template, hooks of pre-commit, Krew's manifest.
//!
//! Their commands are run as they stand in the files, with the program of this build, in a Git
//! repository of their own and without a network.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{assert_code, printed, root};

const PROGRAM: &str = env!("CARGO_BIN_EXE_policyctl");

/// Workloads, and a policy that lets one of them in.
const BASE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: front, namespace: shop, labels: {app: front}}
spec: {containers: []}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
";

/// The same policy, open at port 80, with egress rules that are not in force (NP012).
const CHANGE: &str = "policyTypes: [Ingress], ingress: [{ports: [{port: 80}]}], egress: [{}]";

/// A repository with a base commit and a change in its work tree.
struct Repository {
    folder: TempDir,
    base: String,
}

impl Repository {
    fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("shop.yaml");
        fs::write(&file, BASE)?;
        let git = |arguments: &[&str]| -> io::Result<String> {
            let mut command = Command::new("git");
            command.args(["-c", "user.name=test", "-c", "user.email=test@test.invalid"]);
            let output = command.args(arguments).current_dir(folder.path()).output()?;
            assert!(output.status.success(), "{}", printed(&output));
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        git(&["init", "--quiet"])?;
        git(&["add", "."])?;
        git(&["commit", "--quiet", "--message", "base"])?;
        let base = git(&["rev-parse", "HEAD"])?;
        fs::write(&file, BASE.replace("policyTypes: [Ingress]", CHANGE))?;
        Ok(Self { folder, base })
    }

    /// Runs a script in the repository as GitHub and GitLab do.
    fn run(&self, script: &str, env: &BTreeMap<String, String>) -> io::Result<Output> {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]);
        command.envs(env).current_dir(self.folder.path()).output()
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.folder.path().join(name))
    }
}

fn yaml(path: &str) -> io::Result<Value> {
    let text = fs::read_to_string(root().join(path))?;
    Ok(serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}")))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text")).to_owned()
}

/// A program of this name that writes its arguments into the file `NAME.called`.
fn stub(folder: &Path, name: &str) -> io::Result<()> {
    let program = folder.join(name);
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> \"$RUNNER_TEMP/{name}.called\"\n"))?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
}

/// The action as a workflow runs it on a pull request.
struct Action<'a> {
    repository: &'a Repository,
    temp: TempDir,
    steps: Vec<Value>,
    /// What `${{ … }}` stands for.
    expressions: BTreeMap<String, String>,
}

impl<'a> Action<'a> {
    fn new(repository: &'a Repository) -> io::Result<Self> {
        let temp = tempfile::tempdir()?;
        stub(temp.path(), "gh")?;
        for name in ["env", "output", "summary"] {
            fs::write(temp.path().join(name), "")?;
        }
        let action = yaml("action.yml")?;
        assert_eq!(action["runs"]["using"], "composite");
        let mut expressions: BTreeMap<String, String> = BTreeMap::new();
        for (name, input) in action["inputs"].as_object().into_iter().flatten() {
            assert!(!text(&input["description"]).is_empty(), "{name}");
            expressions.insert(format!("inputs.{name}"), text(&input["default"]));
        }
        expressions.insert("inputs.program".to_owned(), PROGRAM.to_owned());
        for (name, value) in [
            ("github.action_path", root().display().to_string()),
            ("github.event.pull_request.base.sha", repository.base.clone()),
            ("github.event.pull_request.number", "7".to_owned()),
        ] {
            expressions.insert(name.to_owned(), value);
        }
        let steps = action["runs"]["steps"].as_array().cloned().unwrap_or_default();
        Ok(Self { repository, temp, steps, expressions })
    }

    /// Runs the step of a name.
    fn run(&mut self, name: &str) -> io::Result<Output> {
        let step = self.steps.iter().find(|step| step["name"] == name);
        let step = step.unwrap_or_else(|| panic!("there is no step {name}"));
        assert_eq!(step["shell"], "bash", "{name}");
        let temp = self.temp.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut env: BTreeMap<String, String> = [
            ("PATH", format!("{}:{path}", temp.display())),
            ("RUNNER_TEMP", temp.display().to_string()),
            ("GITHUB_ENV", temp.join("env").display().to_string()),
            ("GITHUB_OUTPUT", temp.join("output").display().to_string()),
            ("GITHUB_STEP_SUMMARY", temp.join("summary").display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        for line in fs::read_to_string(temp.join("env"))?.lines() {
            env.extend(line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        for (key, value) in step["env"].as_object().into_iter().flatten() {
            env.insert(key.clone(), self.value(&text(value)));
        }
        let output = self.repository.run(&text(&step["run"]), &env)?;
        if let Some(id) = step["id"].as_str() {
            for line in fs::read_to_string(temp.join("output"))?.lines() {
                if let Some((key, value)) = line.split_once('=') {
                    let name = format!("steps.{id}.outputs.{key}");
                    self.expressions.insert(name, value.to_owned());
                }
            }
            fs::write(temp.join("output"), "")?;
        }
        Ok(output)
    }

    fn value(&self, text: &str) -> String {
        let name = text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
        let Some(name) = name else { return text.to_owned() };
        let value = self.expressions.get(name.trim());
        value.unwrap_or_else(|| panic!("{text} has no value")).clone()
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.temp.path().join(name))
    }
}

#[test]
fn the_action_lints_and_compares_a_pull_request() -> io::Result<()> {
    let repository = Repository::new()?;
    let mut action = Action::new(&repository)?;
    assert_code(&action.run("Install policyctl")?, 0);
    let output = action.run("Lint")?;
    assert_code(&output, 0);
    assert!(printed(&output).contains("::error file=./shop.yaml,line=14,"), "{}", printed(&output));
    let log: Value = serde_json::from_str(&action.read("policyctl.sarif")?)?;
    let results = log["runs"][0]["results"].as_array().map_or(0, Vec::len);
    assert!(results > 0, "{log}");
    let output = action.run("Compare with the base of the pull request")?;
    assert_code(&output, 0);
    assert!(action.read("summary")?.contains("shop/web"), "{}", action.read("summary")?);
    assert_eq!(action.value("${{ steps.diff.outputs.opened }}"), "1");
    assert_code(&action.run("Comment on the pull request")?, 0);
    let called = action.read("gh.called")?;
    assert!(called.starts_with("pr comment 7 ") && called.contains("policyctl.md"), "{called}");
    assert_code(&action.run("Fail on findings")?, 1);
    Ok(())
}

#[test]
fn the_action_ends_as_its_inputs_say() -> io::Result<()> {
    let repository = Repository::new()?;
    let mut action = Action::new(&repository)?;
    action.run("Install policyctl")?;
    action.expressions.insert("inputs.deny".to_owned(), "never".to_owned());
    assert_code(&action.run("Lint")?, 0);
    assert_code(&action.run("Fail on findings")?, 0);
    action.expressions.insert("inputs.options".to_owned(), "--config absent.yaml".to_owned());
    assert_code(&action.run("Lint")?, 2);
    // A base without manifests cannot be compared: the comment says so, and the step does not fail.
    action.expressions.insert("inputs.path".to_owned(), "absent".to_owned());
    let output = action.run("Compare with the base of the pull request")?;
    assert_code(&output, 0);
    assert!(action.read("policyctl.md")?.contains("cannot be compared"), "{}", printed(&output));
    Ok(())
}

#[test]
fn the_jobs_of_the_gitlab_template_run() -> io::Result<()> {
    let repository = Repository::new()?;
    let template = yaml("packaging/gitlab-ci.yml")?;
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in template["variables"].as_object().into_iter().flatten() {
        env.insert(name.clone(), text(value));
    }
    env.insert("POLICYCTL".to_owned(), PROGRAM.to_owned());
    env.insert("CI_MERGE_REQUEST_DIFF_BASE_SHA".to_owned(), repository.base.clone());
    for (job, code, file) in [
        ("policyctl-lint", 1, "gl-code-quality-report.json"),
        ("policyctl-diff", 0, "policyctl.md"),
    ] {
        let lines = template[job]["script"].as_array().cloned().unwrap_or_default();
        let script = lines.iter().map(text).collect::<Vec<_>>().join("\n");
        let output = repository.run(&script, &env)?;
        assert_code(&output, code);
        assert!(template[job]["artifacts"].to_string().contains(file), "{job}");
        assert!(!repository.read(file)?.is_empty(), "{job}");
    }
    let issues: Value = serde_json::from_str(&repository.read("gl-code-quality-report.json")?)?;
    assert!(issues.as_array().is_some_and(|issues| !issues.is_empty()), "{issues}");
    assert!(repository.read("policyctl.junit.xml")?.contains("NP012"));
    Ok(())
}

#[test]
fn the_hooks_of_pre_commit_run() -> io::Result<()> {
    let hooks = yaml(".pre-commit-hooks.yaml")?;
    let hooks = hooks.as_array().cloned().unwrap_or_default();
    assert_eq!(hooks.len(), 2);
    let programs = Path::new(PROGRAM).parent().map(|folder| folder.display().to_string());
    let path =
        format!("{}:{}", programs.unwrap_or_default(), std::env::var("PATH").unwrap_or_default());
    for (hook, id) in hooks.iter().zip(["policyctl-lint", "policyctl-fix"]) {
        assert_eq!(hook["id"], id);
        for field in ["name", "description", "entry", "language", "files"] {
            assert!(hook[field].is_string(), "{id}: {field}");
        }
        let arguments = hook["args"].as_array().cloned().unwrap_or_default();
        let arguments = arguments.iter().map(text).collect::<Vec<_>>().join(" ");
        let script = format!("{} {arguments}", text(&hook["entry"]));
        let repository = Repository::new()?;
        let output = repository.run(&script, &[("PATH".to_owned(), path.clone())].into())?;
        assert_code(&output, 1);
        assert!(printed(&output).contains("error[NP012]"), "{id}: {}", printed(&output));
    }
    Ok(())
}

#[test]
fn the_manifest_for_krew_has_what_an_index_requires() -> io::Result<()> {
    let mut content = fs::read_to_string(root().join("packaging/krew.yaml"))?;
    let sum = "0123456789abcdef".repeat(4);
    for (variable, value) in [
        ("VERSION", "1.2.3"),
        ("RELEASES", "https://releases.invalid"),
        ("SHA256_LINUX_AMD64", sum.as_str()),
        ("SHA256_LINUX_ARM64", sum.as_str()),
    ] {
        content = content.replace(&format!("${{{variable}}}"), value);
    }
    assert!(!content.contains("${"), "{content}");
    let manifest: Value =
        serde_saphyr::from_str(&content).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest["kind"], "Plugin");
    assert_eq!(manifest["metadata"]["name"], "policy");
    let spec = &manifest["spec"];
    assert_eq!(spec["version"], "v1.2.3");
    let short = text(&spec["shortDescription"]);
    assert!(!short.is_empty() && short.len() <= 50 && !short.ends_with('.'), "{short}");
    assert!(!text(&spec["description"]).is_empty());
    let platforms = spec["platforms"].as_array().cloned().unwrap_or_default();
    assert_eq!(platforms.len(), 2);
    for platform in platforms {
        let selector = &platform["selector"]["matchLabels"];
        let (os, arch) = (text(&selector["os"]), text(&selector["arch"]));
        let archive = format!("/v1.2.3/kubectl-policy-{os}-{arch}.tar.gz");
        assert!(text(&platform["uri"]).ends_with(&archive), "{platform}");
        assert_eq!(text(&platform["sha256"]).len(), 64);
        // kubectl finds the plugin by the name of its file.
        let bin = text(&platform["bin"]);
        assert!(Path::new(PROGRAM).with_file_name(&bin).is_file(), "{bin} is not built");
        let files = platform["files"].as_array().cloned().unwrap_or_default();
        assert!(files.iter().any(|file| file["from"] == bin.as_str()), "{platform}");
    }
    Ok(())
}

//! Compares the Helm chart with the kustomize overlays: both must give the same objects.
//!
//! Each overlay is rendered by kustomize, the chart by helm with the values that mean the same, and
//! the objects are compared one by one. Values without a meaning must be refused.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use xtask::bootstrap::go::{HELM, KUSTOMIZE};
use xtask::command::{command, workspace};

const CHART: &str = "manifests/helm/policy-agent";

/// A folder for kustomize, and the values that give the chart the same objects.
const SAME: [(&str, &[&str]); 5] = [
    ("base", &[]),
    ("overlays/cni", &["cni.install=true"]),
    ("overlays/kind", &["cni.install=true", "image.pullPolicy=Never"]),
    ("overlays/minikube", &["cni.install=true", "image.pullPolicy=Never"]),
    (
        "overlays/prometheus",
        &[
            "metrics.listen.address=0.0.0.0",
            "metrics.podMonitor.create=true",
            "metrics.alerts.create=true",
        ],
    ),
];

/// Values that the chart must refuse, by its schema or by a template.
const REFUSED: [&str; 31] = [
    "denyReply=drop",
    "unknownEndpoints=maybe",
    "cni.instal=true",
    "cni.fail=ajar",
    "cni.confDir=etc/cni/net.d",
    "cni.binDir=/opt/../bin",
    "cni.stateDir=/var/lib/cni/",
    "pinDir=/tmp/pins",
    "pinDir=sys/fs/bpf/policy",
    "pinDir=/sys/fs/bpf",
    "pinDir=/sys/fs/bpf/../policy",
    "pinDir=/sys/fs/bpf/policy/",
    "pinDir=/sys/fs/bpf/policy.old",
    "listen.port=0",
    "listen.address=",
    "listen.address=localhost",
    "listen.address=[::1]",
    "listen.address=1::2::3",
    "listen.address=127.0.0.256",
    "metrics.listen.address=everywhere",
    "metrics.podMonitor.create=true",
    "metrics.podMonitor.interval=often",
    "image.repository=",
    "image.tag=a b",
    "uninstall=perhaps",
    "extraArgs={--pin-dir=/sys/fs/bpf/other}",
    "extraArgs={--listen=127.0.0.1:1}",
    "extraArgs={--max-flows}",
    "extraArgs={--max-flows=4096,--max-flows=4096}",
    "extraArgs={4096}",
    "namespace.name=Policy",
];

/// Values that the chart must accept, and an argument of the agent that follows from each.
const TAKEN: [(&str, &str); 7] = [
    ("denyReply=reject", "--deny-reply=reject"),
    ("denyReplyAnnotation=true", "--deny-reply-annotation"),
    ("listen.address=::1", "--listen=[::1]:9470"),
    ("listen.address=192.0.2.1", "--listen=192.0.2.1:9470"),
    ("metrics.listen.address=::", "--metrics-listen=[::]:9471"),
    ("extraArgs={--max-flows=4096,--flow-log=off}", "--max-flows=4096"),
    ("pinDir=/sys/fs/bpf/a/b_c", "--pin-dir=/sys/fs/bpf/a/b_c"),
];

/// An object: kind, namespace, name.
type Objects = BTreeMap<(String, String, String), Value>;

/// Fails if the chart and the overlays differ, or the chart accepts values without a meaning.
pub(crate) fn check() -> Result<()> {
    let install = std::fs::read_to_string(workspace().join("manifests/install.yaml"))?;
    let install = objects(&install).context("install.yaml")?;
    for (folder, values) in SAME {
        let of_kustomize = kustomized(folder).with_context(|| format!("manifests/{folder}"))?;
        let of_helm = templated(values).with_context(|| format!("the chart with {values:?}"))?;
        differ(&of_kustomize, &of_helm)
            .with_context(|| format!("manifests/{folder} and the chart with {values:?} differ"))?;
        if values.is_empty() {
            differ(&of_kustomize, &install).context("manifests/base and install.yaml differ")?;
        }
    }
    for value in REFUSED {
        ensure!(templated(&[value]).is_err(), "the chart accepts {value}");
    }
    for (value, argument) in TAKEN {
        let agent = pod(&templated(&[value]).with_context(|| format!("the chart with {value}"))?)?;
        let given = agent["containers"][0]["args"].as_array().cloned().unwrap_or_default();
        ensure!(given.iter().any(|one| one == argument), "{value} does not give {argument}");
    }
    check_uninstall()
}

/// Fails if the chart and `uninstall.yaml` remove different things.
fn check_uninstall() -> Result<()> {
    let uninstall = std::fs::read_to_string(workspace().join("manifests/uninstall.yaml"))?;
    let alone = pod(&objects(&uninstall)?)?;
    let account = |mut pod: Value| {
        // Only the chart has an account, and its pod does not use it.
        pod.as_object_mut().map(|fields| fields.remove("serviceAccountName"));
        pod
    };
    let of_chart = account(pod(&templated(&["uninstall=true"])?)?);
    ensure!(of_chart == alone, "uninstall.yaml and the chart differ:\n{alone}\n{of_chart}");
    let folders = ["uninstall=true", "cni.confDir=/a/b", "cni.binDir=/c", "pinDir=/sys/fs/bpf/d"];
    let arguments = pod(&templated(&folders)?)?["initContainers"][0]["args"].to_string();
    for wanted in ["--cni-conf-dir=/a/b", "--cni-bin-dir=/c", "--pin-dir=/sys/fs/bpf/d"] {
        ensure!(arguments.contains(wanted), "the chart uninstalls without {wanted}: {arguments}");
    }
    Ok(())
}

/// The pod of the only `DaemonSet` among objects.
fn pod(objects: &Objects) -> Result<Value> {
    let mut sets = objects.iter().filter(|((kind, ..), _)| kind == "DaemonSet");
    let (Some((_, set)), None) = (sets.next(), sets.next()) else { bail!("not one DaemonSet") };
    Ok(set["spec"]["template"]["spec"].clone())
}

fn kustomized(folder: &str) -> Result<Objects> {
    let folder = workspace().join("manifests").join(folder);
    objects(&answer(command(KUSTOMIZE.ensure()?).arg("build").arg(folder))?)
}

fn templated(values: &[&str]) -> Result<Objects> {
    let mut helm = command(HELM.ensure()?);
    helm.args(["template", "policy-agent"]).arg(workspace().join(CHART));
    helm.args(values.iter().flat_map(|value| ["--set", value]));
    objects(&answer(&mut helm)?)
}

/// The output of a program that succeeds.
fn answer(program: &mut Command) -> Result<String> {
    let output = program.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn objects(text: &str) -> Result<Objects> {
    let parsed = serde_saphyr::from_multiple::<Value>(text)?;
    let parsed = parsed.into_iter().filter(|object| !object.is_null());
    let named = parsed.map(|object| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let about = &object["metadata"];
        ((text(&object["kind"]), text(&about["namespace"]), text(&about["name"])), object)
    });
    Ok(named.collect())
}

/// Fails with the first object that is not the same, or only on one side.
fn differ(one: &Objects, other: &Objects) -> Result<()> {
    for name in one.keys().chain(other.keys()) {
        let (one, other) = (one.get(name), other.get(name));
        let shown = |object: Option<&Value>| object.map_or_else(String::new, Value::to_string);
        ensure!(one == other, "{name:?}:\n{}\n{}", shown(one), shown(other));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{differ, objects};

    #[test]
    fn objects_are_the_same_whatever_their_order_and_form() -> anyhow::Result<()> {
        let text =
            "{kind: A, metadata: {name: a}, x: [1, 2]}\n---\n{kind: B, metadata: {name: b}}\n";
        let same =
            "kind: B\nmetadata:\n  name: b\n---\n---\nx: [1, 2]\nkind: A\nmetadata: {name: a}\n";
        differ(&objects(text)?, &objects(same)?)?;
        for other in [&same.replace("[1, 2]", "[2, 1]"), "kind: B\nmetadata: {name: b}\n"] {
            assert!(differ(&objects(text)?, &objects(other)?).is_err(), "{other}");
            assert!(differ(&objects(other)?, &objects(text)?).is_err(), "{other}");
        }
        Ok(())
    }
}

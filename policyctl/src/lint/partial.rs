//! Findings about selectors where the manifests show only a part of what will run.
//!
//! Two things add pods and labels that no manifest has: a kustomization that is not rendered, and the
//! operator of a kind such as `Prometheus`. A selector that seems to match nothing may then match
//! well, so such a finding is a note that says what is not known.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use policy_core::lint::{Finding, Level};
use policy_manifest::Place;

use crate::origin::Origin;

/// Rules that compare selectors and named ports with the pods of the manifests.
const ABOUT_PODS: [&str; 3] = ["NP001", "NP002", "NP007"];

/// Kinds of which an operator creates pods, by API group.
#[rustfmt::skip]
const OPERATORS: [(&str, &[&str]); 15] = [
    ("acid.zalan.do",               &["postgresql"]),
    ("argoproj.io",                 &["ArgoCD", "Workflow", "CronWorkflow"]),
    ("ceph.rook.io",                &["CephCluster", "CephFilesystem", "CephObjectStore"]),
    ("clickhouse.altinity.com",     &["ClickHouseInstallation"]),
    ("jaegertracing.io",            &["Jaeger"]),
    ("k8s.elastic.co",              &["Elasticsearch", "Kibana", "Beat", "Logstash"]),
    ("kafka.strimzi.io",            &["Kafka", "KafkaBridge", "KafkaConnect", "KafkaMirrorMaker2"]),
    ("kubevirt.io",                 &["VirtualMachine", "VirtualMachineInstance", "VirtualMachineInstanceReplicaSet"]),
    ("loki.grafana.com",            &["LokiStack"]),
    ("minio.min.io",                &["Tenant"]),
    ("monitoring.coreos.com",       &["Alertmanager", "Prometheus", "PrometheusAgent", "ThanosRuler"]),
    ("opentelemetry.io",            &["OpenTelemetryCollector"]),
    ("operator.tigera.io",          &["Installation", "APIServer"]),
    ("postgresql.cnpg.io",          &["Cluster", "Pooler"]),
    ("rabbitmq.com",                &["RabbitmqCluster"]),
];

/// Turns findings that what is not known may refute into notes.
pub(super) fn demote(findings: &mut [Finding], origin: &Origin) {
    let operated = operated(origin);
    let about_pods = findings.iter_mut().filter(|finding| ABOUT_PODS.contains(&finding.code));
    for finding in about_pods.filter(|finding| finding.level > Level::Note) {
        let place = origin.manifests.places.find(&finding.object, &finding.field);
        let unknown = match place.and_then(|place| kustomization(origin, place)) {
            Some(folder) => format!("-k {} shows what its kustomization adds", folder.display()),
            None if !operated.is_empty() => {
                let kinds = operated.iter().copied().collect::<Vec<_>>().join(", ");
                format!("pods that the operator of {kinds} creates are not known")
            }
            None => continue,
        };
        finding.level = Level::Note;
        finding.suggestion = format!("{}; {unknown}", finding.suggestion);
    }
}

/// The folder around a place with a kustomization that is not rendered.
fn kustomization<'a>(origin: &'a Origin, place: &Place) -> Option<&'a Path> {
    let mut folders = origin.kustomizations.iter().map(PathBuf::as_path);
    folders.rfind(|folder| Path::new(&place.source).starts_with(folder))
}

/// Kinds in the manifests of which an operator creates pods.
fn operated(origin: &Origin) -> BTreeSet<&str> {
    let objects = origin.manifests.ignored.iter();
    let operated = objects.filter(|object| {
        let group = object.api_version.split('/').next().unwrap_or_default();
        OPERATORS
            .iter()
            .any(|(known, kinds)| *known == group && kinds.iter().any(|kind| *kind == object.kind))
    });
    operated.map(|object| object.kind.as_str()).collect()
}

//! What only pods have: readiness, logs, and commands that run in them.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{AttachParams, AttachedProcess, LogParams};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::{ClientError, Objects};

/// Whether a pod is ready.
pub fn is_pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

impl Objects<Pod> {
    /// Waits until the pods with these labels are ready; returns them.
    pub fn ready(&self, labels: &str, limit: Duration) -> Result<Vec<Pod>, ClientError> {
        let pods = self.list(labels)?;
        if pods.is_empty() {
            return Err(ClientError::NoneMatches {
                kind: "pod".to_owned(),
                labels: labels.to_owned(),
            });
        }
        for pod in &pods {
            let ready = |pod: Option<&Pod>| pod.is_some_and(is_pod_ready);
            self.wait(&pod.name_any(), limit, "ready", ready)?;
        }
        self.list(labels)
    }

    /// What a pod has logged.
    pub fn log(&self, name: &str, which: LogParams) -> Result<String, ClientError> {
        self.request("read the log of", name, move |api, name| async move {
            api.logs(&name, &which).await
        })
    }

    /// Runs a command in a pod; returns its output.
    pub fn run(&self, name: &str, command: &[&str], input: &str) -> Result<String, ClientError> {
        let mut process = self.start(name, command, !input.is_empty())?;
        let (pod, input) = (name.to_owned(), input.to_owned());
        self.client.run(async move {
            let broken = |source| ClientError::Stream { pod: pod.clone(), source };
            if let Some(mut stdin) = process.stdin() {
                stdin.write_all(input.as_bytes()).await.map_err(broken)?;
                stdin.shutdown().await.map_err(broken)?;
            }
            let mut output = String::new();
            if let Some(mut stdout) = process.stdout() {
                stdout.read_to_string(&mut output).await.map_err(broken)?;
            }
            let status = match process.take_status() {
                Some(status) => status.await,
                None => None,
            };
            let failure = status.filter(|status| status.status.as_deref() != Some("Success"));
            match failure {
                None => Ok(output),
                Some(status) => {
                    Err(ClientError::Command { pod, message: status.message.unwrap_or_default() })
                }
            }
        })
    }

    /// Runs a command in a pod; gives each line of its output until the receiver is dropped.
    pub fn lines(&self, name: &str, command: &[&str]) -> Result<Receiver<String>, ClientError> {
        let mut process = self.start(name, command, false)?;
        let (sender, lines) = mpsc::channel();
        self.client.runtime.spawn(async move {
            let Some(stdout) = process.stdout() else { return };
            let mut output = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = output.next_line().await {
                if sender.send(line).is_err() {
                    break;
                }
            }
            process.abort();
        });
        Ok(lines)
    }

    fn start(
        &self,
        name: &str,
        command: &[&str],
        stdin: bool,
    ) -> Result<AttachedProcess, ClientError> {
        let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
        self.request("run a command in", name, move |api, name| async move {
            let streams = AttachParams::default().stdin(stdin).stdout(true).stderr(false);
            api.exec(&name, command, &streams).await
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_ready_where_its_condition_is_true() -> Result<(), serde_json::Error> {
        let condition = |kind: &str, status: &str| json!([{"type": kind, "status": status}]);
        for (conditions, ready) in [
            (condition("Ready", "True"), true),
            (condition("Ready", "False"), false),
            (condition("ContainersReady", "True"), false),
            (json!([]), false),
        ] {
            let pod = serde_json::from_value(json!({"status": {"conditions": conditions}}))?;
            assert_eq!(is_pod_ready(&pod), ready, "{conditions}");
        }
        assert!(!is_pod_ready(&Pod::default()), "no status yet");
        Ok(())
    }
}

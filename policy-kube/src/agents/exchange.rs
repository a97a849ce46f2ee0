//! One request to one agent, through a port-forward.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{AgentError, AgentPod};
use crate::Client;

/// How long to wait for kubelet's reason after a connection failed.
const REASON: Duration = Duration::from_secs(1);
/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 20;

/// The body of the agent's answer.
pub(super) async fn get(
    client: &Client,
    agent: &AgentPod,
    path: &str,
) -> Result<Vec<u8>, AgentError> {
    let AgentPod { namespace, name, phase, .. } = agent;
    if phase != "Running" {
        return Err(AgentError::NotRunning { pod: name.clone(), phase: phase.clone() });
    }
    let port = agent.port.ok_or(AgentError::NotListening)?;
    let api: Api<Pod> = Api::namespaced(client.kube.clone(), namespace);
    let forward = api.portforward(name, &[port]).await;
    let forwarded = format!("/api/v1/namespaces/{namespace}/pods/{name}/portforward");
    let mut forward = forward.map_err(|error| AgentError::Forward {
        source: Box::new(client.failure(&forwarded, error)),
    })?;
    let (stream, refusal) = (forward.take_stream(port), forward.take_error(port));
    let stream = stream.ok_or(AgentError::NoStream)?;
    match exchange(stream, path).await {
        // Kubelet says why nothing answers at the port.
        Err(AgentError::Http(source)) => {
            let why = match refusal {
                Some(refusal) => timeout(REASON, refusal).await.ok().flatten(),
                None => None,
            };
            Err(why.map_or(AgentError::Http(source), |why| AgentError::Port { port, why }))
        }
        answer => answer,
    }
}

/// Sends a request over a connection.
async fn exchange<S>(stream: S, path: &str) -> Result<Vec<u8>, AgentError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(path).body(Empty::<Bytes>::new()).map_err(AgentError::Path)?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(AgentError::Read)?;
        let body = body.to_bytes();
        if head.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&body).trim().to_owned();
            return Err(AgentError::Refused { status: head.status.as_u16(), text });
        }
        Ok(body.to_vec())
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end before the answer is read.
        ended = connection => { ended?; exchange.await }
    }
}

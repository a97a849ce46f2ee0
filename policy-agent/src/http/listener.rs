//! Accepts HTTP connections at an address and at a Unix socket, so that no client keeps others out.
//!
//! [`serve`] gets the places and the routes, and runs until the process ends. At each place at most
//! [`MAX_CONNECTIONS`] are open at a time, a connection carries one request, and one that sends or reads
//! slowly is closed. A place that cannot be used, for example because another process listens there, is
//! tried again for ever; it is no reason to stop enforcing.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections served at a time at each place; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// Time in which the head of a request must arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(3);
/// Time after which a connection is closed, whatever it does.
const CONNECTION_LIMIT: Duration = Duration::from_secs(20);
/// Pause before a place is tried again, or after a connection could not be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// A place where connections arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenPlace {
    /// An address and a port.
    Address(SocketAddr),
    /// A socket that only root may connect to.
    Socket(PathBuf),
}

/// An open place.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Serves the routes at a place.
pub(super) async fn serve(place: ListenPlace, router: Router) {
    let listener = open(&place).await;
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok(Some(stream)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    answer(stream, router).await;
                    drop(permit);
                });
            }
            Ok(None) => tracing::warn!("only root may connect to the status socket"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection at {place}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Opens a place, and logs each reason why it cannot be opened once.
async fn open(place: &ListenPlace) -> Listener {
    let mut logged = None;
    loop {
        match place.listen() {
            Ok(listener) => {
                if logged.is_some() {
                    tracing::info!("listening at {place}");
                }
                return listener;
            }
            Err(error) => {
                if logged != Some(error.kind()) {
                    tracing::error!(
                        "cannot listen at {place}, policies are enforced without it; retrying: {error}"
                    );
                    logged = Some(error.kind());
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Answers one request. What the client does wrong concerns nobody else.
async fn answer(stream: Box<dyn Stream>, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = timeout(CONNECTION_LIMIT, connection).await;
}

impl ListenPlace {
    fn listen(&self) -> io::Result<Listener> {
        match self {
            Self::Address(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Listener::Tcp)
            }
            Self::Socket(path) => {
                if let Some(folder) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                }
                // An agent that ends leaves its socket behind.
                match fs::symlink_metadata(path) {
                    Ok(found) if found.file_type().is_socket() => fs::remove_file(path)?,
                    Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                    Err(_) => {}
                }
                let listener = UnixListener::bind(path)?;
                fs::set_permissions(path, Permissions::from_mode(0o600))?;
                Ok(Listener::Unix(listener))
            }
        }
    }
}

impl std::fmt::Display for ListenPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

impl Listener {
    /// The next connection; `None` for one of a process that is not root.
    async fn accept(&self) -> io::Result<Option<Box<dyn Stream>>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Some(Box::new(stream)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                if stream.peer_cred()?.uid() != 0 {
                    return Ok(None);
                }
                Ok(Some(Box::new(stream)))
            }
        }
    }
}

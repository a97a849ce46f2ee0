//! One probe on the wire: a real connection, and what became of it.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use policy_common::drops::Reason;
use policy_core::model::{Family, Protocol};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, UdpSocket},
    time::{sleep, timeout},
};

use super::{
    drop_matcher::{Claim, Ledger},
    netns::{self, Namespace},
    sctp, socket,
};
use policy_agent::chain::chain;

/// How long a probe waits: long enough for the second repetition of a SYN.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// How long an answer may still come after a drop was counted.
const GRACE: Duration = Duration::from_millis(50);

/// Waits between repetitions of a datagram.
const REPEATS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Bytes of an answer: headers, a token, a name and an address, with room to spare.
const ANSWER: usize = 1024;

/// A connection to try.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Namespace to try it from.
    pub namespace: Namespace,
    /// Address to come from; `None` leaves it to the kernel, as a process of a node does.
    pub source: Option<IpAddr>,
    /// Where to.
    pub destination: SocketAddr,
    /// By which protocol.
    pub protocol: Protocol,
    /// Addresses that its packets may carry, translated ones included.
    pub addresses: BTreeSet<IpAddr>,
    /// What the right servers answer.
    pub answers: BTreeSet<String>,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The right server answered.
    Answered,
    /// A drop was counted, and no answer came.
    Dropped(Reason),
    /// Somebody said no: a reset or an ICMP error.
    Refused,
    /// Another server answered.
    Mistaken {
        /// What it said.
        answer: String,
    },
    /// Neither an answer nor a counted drop.
    Vanished,
    /// It could not be tried.
    Failed {
        /// Why.
        error: String,
    },
}

/// Tries a connection.
pub async fn attempt(attempt: &Attempt, ledger: &Arc<Ledger>) -> Fate {
    let family = Family::of(attempt.destination.ip());
    let Some(claim) = ledger.claim(attempt.protocol, family, attempt.addresses.clone()) else {
        return Fate::Failed { error: "every source port is in use".to_owned() };
    };
    let caller = match Caller::open(attempt, &claim) {
        Ok(caller) => caller,
        Err(error) => {
            return Fate::Failed { error: chain(&error) };
        }
    };
    let call = caller.call(attempt.destination, claim.port);
    tokio::pin!(call);
    let answer = tokio::select! {
        answer = timeout(PATIENCE, &mut call) => answer.ok(),
        _ = claim.dropped() => timeout(GRACE, &mut call).await.ok(),
    };
    judge(attempt, &claim, answer)
}

/// Draws the conclusion. An answer outweighs a drop: something got through.
fn judge(attempt: &Attempt, claim: &Claim, answer: Option<io::Result<String>>) -> Fate {
    match (answer, claim.reason()) {
        (Some(Ok(answer)), _) if attempt.answers.contains(&answer) => Fate::Answered,
        (Some(Ok(answer)), _) => Fate::Mistaken { answer },
        (Some(Err(error)), _) if error.kind() == io::ErrorKind::ConnectionRefused => Fate::Refused,
        (_, Some(reason)) => Fate::Dropped(reason),
        (Some(Err(error)), None) => Fate::Failed { error: error.to_string() },
        (None, None) => Fate::Vanished,
    }
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    #[error("cannot open a socket")]
    Socket(#[from] io::Error),
}

/// The near end.
enum Caller {
    Tcp(TcpSocket),
    Udp(UdpSocket),
    /// A raw IP socket.
    Sctp(UdpSocket),
}

impl Caller {
    fn open(attempt: &Attempt, claim: &Claim) -> Result<Self, OpenError> {
        let any = match attempt.destination {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let source = SocketAddr::new(attempt.source.unwrap_or(any), claim.port);
        attempt.namespace.run(|| {
            Ok(match attempt.protocol {
                Protocol::Tcp => Self::Tcp(socket::caller(source)?),
                Protocol::Udp => Self::Udp(socket::datagram(source)?),
                Protocol::Sctp => Self::Sctp(socket::sctp(source.ip())?),
            })
        })
    }

    /// Asks the far end for its name.
    async fn call(self, destination: SocketAddr, port: u16) -> io::Result<String> {
        match self {
            Self::Tcp(socket) => {
                let mut stream = socket.connect(destination).await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                Ok(answer)
            }
            Self::Udp(socket) => {
                socket.connect(destination).await?;
                let token = format!("{port} asks ");
                let name = |answer: &[u8]| {
                    let name = answer.strip_prefix(token.as_bytes())?;
                    Some(String::from_utf8_lossy(name).into_owned())
                };
                ask(&socket, token.as_bytes(), name).await
            }
            Self::Sctp(raw) => {
                // IPv6 takes a port here for a protocol number.
                raw.connect(SocketAddr::new(destination.ip(), 0)).await?;
                let (ipv4, far) = (destination.is_ipv4(), destination.port());
                let name = |answer: &[u8]| sctp::name_in(answer, ipv4, port, far);
                ask(&raw, &sctp::init(port, far), name).await
            }
        }
    }
}

/// Sends a question, again and again, until a name is in what comes back.
async fn ask(
    socket: &UdpSocket,
    question: &[u8],
    name_in: impl Fn(&[u8]) -> Option<String>,
) -> io::Result<String> {
    let repeat = async {
        for wait in REPEATS {
            socket.send(question).await?;
            sleep(wait).await;
        }
        std::future::pending::<io::Result<()>>().await
    };
    let listen = async {
        let mut buffer = [0; ANSWER];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(name) = name_in(&buffer[..length]) {
                return Ok(name);
            }
        }
    };
    tokio::select! {
        Err(error) = repeat => Err(error),
        name = listen => name,
    }
}

//! A question: the first packet of a connection between two ends.

use std::net::IpAddr;

use crate::model::{Family, ObjectName, Protocol};

/// An end of a connection, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionEnd {
    /// A pod; one with `hostNetwork` is a process of its node.
    Pod(ObjectName),
    /// An address; it may be that of a pod.
    Address(IpAddr),
    /// A Service, at its cluster IP; only as the destination.
    Service(ObjectName),
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// The end that opens it.
    pub from: ConnectionEnd,
    /// The end that it is opened to.
    pub to: ConnectionEnd,
    /// Address family.
    pub family: Family,
    /// Protocol.
    pub protocol: Protocol,
    /// Destination port, as the initiator sees it.
    pub port: u16,
}

//! Syntax of names, labels and addresses, with the rules of the API server
//! (`k8s.io/apimachinery/pkg/util/validation`).

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Most characters of a DNS label, of a label's value and of the name in its key.
const LABEL: usize = 63;

/// Most characters of a DNS name.
const SUBDOMAIN: usize = 253;

/// Most characters of a port's name (RFC 6335).
const PORT_NAME: usize = 15;

/// A DNS label (RFC 1123): names of Namespaces and Services.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= LABEL && is_dns_part(text)
}

/// A DNS name (RFC 1123): names of most objects. Like the API server, it limits the whole length
/// only, not that of each label.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN && text.split('.').all(is_dns_part)
}

/// A domain name, or `*.` and a domain name, as in the CRD of `ClusterNetworkPolicy`.
pub(crate) fn is_domain_pattern(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let end = |byte: u8| byte.is_ascii_alphanumeric();
    let part = |part: &str| {
        part.bytes().all(|byte| end(byte) || b"-_".contains(&byte)) && ends_are(part, end)
    };
    name.contains('.') && name.split('.').all(part)
}

/// The key of a label: a name, or `domain/name`.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_qualified(name),
        None => is_qualified(text),
    }
}

/// The value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_qualified(text)
}

/// The name of a port (`IANA_SVC_NAME`).
pub(crate) fn is_port_name(text: &str) -> bool {
    text.len() <= PORT_NAME
        && is_label(text)
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// An address; an IPv4-mapped IPv6 address is refused, as its family is ambiguous.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|address| !is_mapped(*address))
}

/// `ADDRESS/LENGTH`, with host bits masked off.
///
/// `ipnetwork` alone also accepts an address without a length, and a netmask.
pub(crate) fn block(text: &str) -> Option<IpNetwork> {
    let (ip, length) = text.split_once('/')?;
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits && (length == "0" || !length.starts_with('0'));
    let block = IpNetwork::new(address(ip)?, length.parse().ok().filter(|_| canonical)?).ok()?;
    IpNetwork::new(block.network(), block.prefix()).ok()
}

/// Whether `inner` is inside of `outer` and smaller, as an entry of `except` must be.
pub(crate) fn is_part(inner: IpNetwork, outer: IpNetwork) -> bool {
    inner.is_ipv4() == outer.is_ipv4()
        && inner.prefix() > outer.prefix()
        && outer.contains(inner.network())
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Lower-case letters, digits and `-`, with letters or digits at both ends.
fn is_dns_part(text: &str) -> bool {
    let end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| end(byte) || byte == b'-') && ends_are(text, end)
}

/// Letters, digits, `-`, `_` and `.`, with letters or digits at both ends.
fn is_qualified(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= LABEL
        && text.bytes().all(inner)
        && ends_are(text, |byte| byte.is_ascii_alphanumeric())
}

/// Whether the first and the last byte are `legal`; false for the empty text.
fn ends_are(text: &str, legal: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| legal(*byte)) && bytes.last().is_some_and(|byte| legal(*byte))
}

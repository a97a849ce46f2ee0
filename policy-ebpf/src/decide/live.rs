//! Live connections to Services: judged by the backend that they have (S42).
//!
//! A frontend may refuse new connections while others to it go on: its last backend turned unready, or
//! one that policies deny has joined. kube-proxy has chosen the backend of a live connection, so the
//! agent reads it from `nf_conntrack` into `live_backends` before it starts a new epoch:
//!
//! ```text
//! web:59660 → 10.96.0.20:80    the frontend refuses: no backend is ready
//! live_backends                10.244.1.10:8080, unready: policies allow it, so the flow passes
//! ```

use policy_common::{
    backend::LiveBackendKey,
    endpoint::Endpoint,
    flow::{Translation, translation},
};

use super::{
    endpoint,
    rules::{self, Peer},
    verdict::Verdict,
};
use crate::{
    address::Ip,
    element::{is_still, read_address, read_once},
    flow::family::Ends,
    maps::LIVE_BACKENDS,
    scratch,
};

/// Judges a connection of the pod that was `refused`: by its backend, if that is known.
#[inline(always)]
pub(crate) fn judge(endpoint: &Endpoint, ends: &Ends, refused: Verdict) -> Verdict {
    let Ip { high, low } = ends.remote;
    let ports = u32::from_be_bytes([
        ends.ports.local[0],
        ends.ports.local[1],
        ends.ports.remote[0],
        ends.ports.remote[1],
    ]);
    if endpoint.egress == 0 || live_find(high, low, ports, ends.ifindex, ends.protocol) == 0 {
        return refused;
    }
    let Some(scratch) = scratch::get() else { return refused };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one; `live_find`
    // has written it.
    let backend = unsafe { &(*scratch).backend };
    let protocol = ends.protocol;
    if backend.checks_frontend {
        let frontend = Peer { address: ends.remote, protocol, port: ends.ports.remote };
        let verdict = rules::address(endpoint.egress, &frontend);
        if !matches!(verdict, Verdict::Pass) {
            return verdict;
        }
    }
    // A pod always reaches itself (S39).
    if endpoint::owns(endpoint, backend.address) {
        return Verdict::Pass;
    }
    rules::address(
        endpoint.egress,
        &Peer { address: backend.address, protocol, port: backend.port },
    )
}

/// Judges a connection to a frontend by the backend to which the programs translate it.
#[inline(always)]
pub(crate) fn by_backend(endpoint: &Endpoint, ends: &Ends, backend: &Translation) -> Verdict {
    if endpoint.egress == 0 {
        return Verdict::Pass;
    }
    let (address, protocol) = (read_address(&backend.address), ends.protocol);
    rules::address(endpoint.egress, &Peer { address, protocol, port: backend.port })
}

/// Judges the frontend's own address of a translated connection, where policy must allow it too.
#[inline(always)]
pub(crate) fn frontend(endpoint: &Endpoint, ends: &Ends, far: &Translation) -> Verdict {
    if endpoint.egress == 0 || far.bits & translation::CHECKS_FRONTEND == 0 {
        return Verdict::Pass;
    }
    let (address, port) = if far.bits & translation::TO_FRONTEND == 0 {
        (ends.remote, ends.ports.remote)
    } else {
        (read_address(&far.address), far.port)
    };
    rules::address(endpoint.egress, &Peer { address, protocol: ends.protocol, port })
}

/// Copies the backend of a connection to the scratch map: 1, or 0 if it is not known. `ports` are the
/// pod's and the frontend's.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn live_find(high: u64, low: u64, ports: u32, ifindex: u32, protocol: u8) -> u32 {
    let Some(scratch) = scratch::get() else { return 0 };
    let [a, b, c, d] = ports.to_be_bytes();
    let key = LiveBackendKey {
        ifindex,
        frontend: Ip { high, low }.bytes(),
        local_port: [a, b],
        remote_port: [c, d],
        protocol,
        pad: [0; 3],
    };
    let Some(pointer) = LIVE_BACKENDS.get_ptr(key) else { return 0 };
    // SAFETY: the kernel keeps the element readable while the program runs; if it is recycled
    // meanwhile, the key that is read last differs.
    let found = unsafe { &*pointer };
    // SAFETY: the map has one element for each CPU, and no other program runs on this one.
    let backend = unsafe { &mut (*scratch).backend };
    // Field by field: they take no stack while the key is compared.
    backend.address = read_address(&found.address);
    backend.port = read_once(&found.port);
    backend.checks_frontend = read_once(&found.checks_frontend) != 0;
    u32::from(is_still(&found.key, &key))
}

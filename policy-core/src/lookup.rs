//! Look-ups in the compiled result, as the programs make them in their maps.
//!
//! Input: an isolated pod's allow map, a far end and a port. Output: pass, or the reason of the drop.
//! `explain`, `lint` and tests ask here what the kernel would do. For egress to 10.96.0.1 TCP 80:
//!
//! ```text
//! frontends    10.96.0.1 TCP 80 -> identity f       a frontend: its outcome decides
//! allow map    f -> ServiceDenied                   dropped
//! no frontend  addresses, else the longest block    -> identity a, or the default one
//! allow map    a -> 80, 443; no entry: the default  80 is in it: passes
//! ```

use std::net::IpAddr;

use policy_common::drops::Reason;

use crate::{
    compile::{self, AddressKey, IdentityKind},
    desired::{AllowMap, Desired, Frontend, FrontendOutcome, Identity, Isolation},
    model::{Direction, Protocol},
    ports::Ports,
};

impl Desired {
    /// The identity of an address: its own, else that of the smallest block around it, else
    /// `DEFAULT_IDENTITY`.
    #[must_use]
    pub fn identity_of(&self, address: IpAddr) -> &Identity {
        let exact = self.addresses.get(&address);
        exact.or_else(|| compile::longest_match(&self.blocks, address)).unwrap_or(&None)
    }

    /// Judges the first packet of a connection between an isolated pod and `remote`; `port` is
    /// that of the destination.
    ///
    /// # Errors
    ///
    /// The reason for which the packet is dropped.
    pub fn judge(
        &self,
        isolation: &Isolation,
        direction: Direction,
        remote: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Result<(), Reason> {
        let allow_map = &isolation.allow_map;
        if direction == Direction::Egress {
            let frontend = Frontend { address: remote, protocol, port };
            if let Some(identity) = self.frontends.get(&frontend) {
                return allow_map.frontend(identity);
            }
        }
        let ports = allow_map.ports_of(self.identity_of(remote));
        let allowed = ports.is_some_and(|ports| ports.contains(protocol, port));
        if allowed { Ok(()) } else { Err(Reason::NoRule) }
    }

    /// The key of an address's identity; `None` for `DEFAULT_IDENTITY`.
    pub(crate) fn address_key(&self, address: IpAddr) -> Option<&AddressKey> {
        match &self.identity_of(address).as_ref()?.0 {
            IdentityKind::Addresses(key) => Some(key),
            IdentityKind::Frontends(_) => None,
        }
    }
}

impl AllowMap {
    /// The ports of an identity; `None` where there are none.
    #[must_use]
    pub fn ports_of(&self, identity: &Identity) -> Option<&Ports> {
        self.ports.get(identity).or_else(|| self.ports.get(&None))
    }

    /// What happens to a new connection to a frontend of this identity.
    ///
    /// # Errors
    ///
    /// The reason for which the packet is dropped.
    pub fn frontend(&self, identity: &Identity) -> Result<(), Reason> {
        let open = || self.ports.get(&None).is_some_and(|ports| ports.every_protocol);
        match self.frontends.get(identity) {
            Some(FrontendOutcome::Pass) => Ok(()),
            Some(FrontendOutcome::Refuse(reason)) => Err(*reason),
            None if open() => Ok(()),
            None => Err(Reason::ServiceDenied),
        }
    }
}

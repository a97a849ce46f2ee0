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
    desired::{AllowMap, Desired, DesiredEndpoint, Frontend, FrontendOutcome, Identity, Isolation},
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
            if let Some(identity) = self.frontend_identity(&frontend) {
                return allow_map.frontend(identity);
            }
        }
        let allowed = self.allows(allow_map, remote, protocol, port);
        if allowed { Ok(()) } else { Err(Reason::NoRule) }
    }

    /// What happens to a new connection of an isolated pod to a frontend; `None` where there is no such
    /// frontend.
    #[must_use]
    pub fn outcome(&self, isolation: &Isolation, frontend: &Frontend) -> Option<FrontendOutcome> {
        let identity = self.frontend_identity(frontend)?;
        Some(isolation.allow_map.outcome(identity))
    }

    /// The identity of a frontend, or of its address if a Service there does not fit into the map.
    fn frontend_identity(&self, frontend: &Frontend) -> Option<&Identity> {
        let every_port = || self.frontends.get(&Frontend::of_every_port(frontend.address));
        self.frontends.get(frontend).or_else(every_port)
    }

    /// Whether an allow map has a port of an address. Frontends are not looked up.
    #[must_use]
    pub fn allows(
        &self,
        allow_map: &AllowMap,
        remote: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> bool {
        let ports = allow_map.ports_of(self.identity_of(remote));
        ports.is_some_and(|ports| ports.contains(protocol, port))
    }

    /// The backends of a frontend that a pod may reach, sorted (S40). A pod always reaches itself
    /// (S39). Empty where policy must allow the frontend's own address too, and does not.
    #[must_use]
    pub fn allowed_backends(
        &self,
        endpoint: &DesiredEndpoint,
        frontend: &Frontend,
    ) -> Vec<(IpAddr, u16)> {
        let all = self.backends.get(frontend).map(|service| &*service.backends);
        let all = all.into_iter().flatten().copied();
        let Some(isolation) = &endpoint.isolation.egress else { return all.collect() };
        let allow_map = &isolation.allow_map;
        let Frontend { address, protocol, port } = *frontend;
        if self.checks_frontend(frontend) && !self.allows(allow_map, address, protocol, port) {
            return Vec::new();
        }
        let is_allowed = |&(address, port): &(IpAddr, u16)| {
            endpoint.addresses.contains(&address) || self.allows(allow_map, address, protocol, port)
        };
        all.filter(is_allowed).collect()
    }

    /// Whether policy must allow a frontend's own address too.
    fn checks_frontend(&self, frontend: &Frontend) -> bool {
        self.backends.get(frontend).is_some_and(|service| service.checks_frontend)
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
        self.outcome(identity).refusal().map_or(Ok(()), Err)
    }

    /// As [`frontend`](Self::frontend), with the backends to which a connection goes.
    #[must_use]
    pub fn outcome(&self, identity: &Identity) -> FrontendOutcome {
        let open = || self.ports.get(&None).is_some_and(|ports| ports.every_protocol);
        match self.frontends.get(identity) {
            Some(outcome) => outcome.clone(),
            None if open() => FrontendOutcome::Pass,
            None => FrontendOutcome::Refuse(Reason::ServiceDenied),
        }
    }
}

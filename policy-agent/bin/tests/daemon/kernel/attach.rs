//! Endpoints: entries and programs come and go together.

use anyhow::{Result, bail};
use policy_agent::dataplane::{
    ActiveParts, Dataplane, DataplaneError, HookedProgram, Hooks, Options, hooks,
};
use policy_common::endpoint::Endpoint;
use policy_core::{model::PerDirection, plan::Step};

use super::bpftool;
use crate::namespace::{Namespace, end};

/// A pod's veth `veth0` with index 10, and what keeps it.
fn node_with_pod() -> Result<(Namespace, Namespace)> {
    let (node, pod) = (Namespace::new()?, Namespace::new()?);
    node.join(&end(10, "veth0"), &pod, &end(2, "eth0"), &["10.0.0.2/32"])?;
    Ok((node, pod))
}

fn endpoint(ingress: u32) -> Step {
    let address4 = [10, 0, 0, 2];
    Step::PutEndpoint(Endpoint { ifindex: 10, slot: 3, ingress, address4, ..Endpoint::default() })
}

const GONE: Step = Step::DeleteEndpoint { ifindex: 10, slot: 3 };

fn names(programs: &[HookedProgram]) -> Vec<&str> {
    programs.iter().map(|program| program.name.as_str()).collect()
}

#[test]
fn an_endpoint_comes_with_both_programs_and_goes_with_them() -> Result<()> {
    let (node, _pod) = node_with_pod()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        // A second time it is written again, and not attached again.
        for ingress in [0, 4] {
            dataplane.apply(&endpoint(ingress))?;
            let Hooks { from_pod, to_pod } = hooks("veth0")?;
            assert_eq!((names(&from_pod), names(&to_pod)), (vec!["from_pod"], vec!["to_pod"]));
            assert_eq!(bpftool::set_elements(&dataplane, "slots")?, [(3, 10)]);
            // Only where somebody is isolated do flows matter.
            let epochs = if ingress == 0 { vec![] } else { vec![(10, 1)] };
            assert_eq!(bpftool::set_elements(&dataplane, "epochs")?, epochs);
            let entries = bpftool::dump(&dataplane, "endpoints")?;
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].1["ingress"], ingress);
            assert_eq!(entries[0].1["address4"], serde_json::json!([10, 0, 0, 2]));
        }
        assert_eq!(dataplane.attached().collect::<Vec<_>>(), [10]);
        dataplane.apply(&GONE)?;
        assert_eq!(hooks("veth0")?, Hooks::default());
        assert_eq!(bpftool::dump(&dataplane, "endpoints")?, []);
        assert_eq!(bpftool::set_elements(&dataplane, "slots")?, []);
        assert_eq!(dataplane.attached().count(), 0);
        Ok(())
    })
}

#[test]
fn the_verifier_walks_through_few_enough_instructions() -> Result<()> {
    // The kernel's limit is a million; a program near it fails on a kernel that prunes less.
    const CEILING: u32 = 200_000;
    crate::privilege::root()?;
    let dataplane = Dataplane::load(&Options::default())?;
    for (program, count) in dataplane.verified_instructions()? {
        match count {
            Some(count) => {
                println!("@measured {program} {count}");
                assert!(count > 0 && count < CEILING, "{program}: {count}");
            }
            None => println!("@measured {program} unknown"),
        }
    }
    Ok(())
}

#[test]
fn the_programs_go_with_the_dataplane() -> Result<()> {
    let (node, _pod) = node_with_pod()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        dataplane.apply(&endpoint(0))?;
        drop(dataplane);
        assert_eq!(hooks("veth0")?, Hooks::default());
        Ok(())
    })
}

#[test]
fn the_programs_come_first_on_their_hooks() -> Result<()> {
    let (node, _pod) = node_with_pod()?;
    node.run(async || {
        let mut others = Dataplane::load(&Options::default())?;
        others.apply(&endpoint(0))?;
        let before = hooks("veth0")?;
        let mut dataplane = Dataplane::load(&Options::default())?;
        dataplane.apply(&endpoint(0))?;
        let after = hooks("veth0")?;
        for (before, after) in [(before.from_pod, after.from_pod), (before.to_pod, after.to_pod)] {
            assert_eq!(after.len(), 2);
            assert_eq!(after[1..], before, "whoever was there comes second");
        }
        Ok(())
    })
}

#[test]
fn without_tcx_the_programs_are_filters_of_a_clsact_qdisc() -> Result<()> {
    let (node, _pod) = node_with_pod()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options { clsact: true, ..Options::default() })?;
        // The second time the qdisc is there already.
        for _ in 0..2 {
            dataplane.apply(&endpoint(0))?;
            let want = [("clsact/ingress", "from_pod"), ("clsact/egress", "to_pod")];
            let filters = bpftool::filters()?;
            let filters = filters.iter().map(|(kind, name, _)| (kind.as_str(), name.as_str()));
            assert_eq!(filters.collect::<Vec<_>>(), want);
            assert_eq!(hooks("veth0")?, Hooks::default());
            dataplane.apply(&GONE)?;
            assert_eq!(bpftool::filters()?, []);
        }
        Ok(())
    })
}

#[test]
fn what_the_lab_leaves_out_is_not_attached() -> Result<()> {
    let (node, _pod) = node_with_pod()?;
    node.run(async || {
        for (ingress, egress) in [(true, false), (false, true)] {
            let directions = PerDirection { ingress, egress };
            let parts = ActiveParts { directions, ..ActiveParts::default() };
            let mut dataplane = Dataplane::load(&Options { parts, ..Options::default() })?;
            dataplane.apply(&endpoint(0))?;
            let Hooks { from_pod, to_pod } = hooks("veth0")?;
            assert_eq!((to_pod.len(), from_pod.len()), (ingress.into(), egress.into()));
        }
        Ok(())
    })
}

#[test]
fn an_endpoint_without_an_interface_leaves_nothing_behind() -> Result<()> {
    let node = Namespace::new()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        match dataplane.apply(&endpoint(4)) {
            Err(DataplaneError::InterfaceMissing { ifindex: 10, .. }) => {}
            other => bail!("attached to nothing: {other:?}"),
        }
        assert_eq!(bpftool::dump(&dataplane, "endpoints")?, []);
        assert_eq!(bpftool::set_elements(&dataplane, "slots")?, []);
        assert_eq!(dataplane.attached().count(), 0);
        Ok(())
    })
}

#[test]
fn an_endpoint_whose_interface_is_gone_can_be_deleted() -> Result<()> {
    let (node, pod) = node_with_pod()?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        dataplane.apply(&endpoint(4))?;
        drop(pod);
        for _ in 0..500 {
            if hooks("veth0").is_err() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(hooks("veth0").is_err(), "the veth outlives the pod by five seconds");
        dataplane.apply(&GONE)?;
        assert_eq!(bpftool::dump(&dataplane, "endpoints")?, []);
        Ok(())
    })
}

#[test]
fn s8_a_slot_that_is_another_endpoints_by_now_is_left_alone() -> Result<()> {
    let (node, _pod) = node_with_pod()?;
    let (_other_node, other) = (Namespace::new()?, Namespace::new()?);
    node.join(&end(11, "veth1"), &other, &end(2, "eth0"), &["10.0.0.3/32"])?;
    node.run(async || {
        let mut dataplane = Dataplane::load(&Options::default())?;
        dataplane.apply(&endpoint(0))?;
        let heir = Endpoint { ifindex: 11, slot: 3, ..Endpoint::default() };
        dataplane.apply(&Step::PutEndpoint(heir))?;
        dataplane.apply(&GONE)?;
        assert_eq!(bpftool::set_elements(&dataplane, "slots")?, [(3, 11)]);
        Ok(())
    })
}

//! `policy-agent detach`: what an agent pinned goes, and nothing else.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::Result;
use policy_agent::dataplane::Hooks;

use crate::{
    machine::{Machine, arrives, until},
    pins::{enforced, programs},
};

const AWAY: Duration = Duration::from_millis(300);

/// Runs `policy-agent detach`.
pub(crate) fn detach(machine: &Machine, folder: &Path, options: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_policy-agent"));
    command.arg("detach").arg("--pin-dir").arg(folder).args(options);
    machine.inside(move || Ok(command.output()?))
}

/// Says which of some paths are there, on the machine's bpffs.
fn there<const N: usize>(machine: &Machine, folder: &Path, paths: [&str; N]) -> Result<[bool; N]> {
    machine.inside(|| Ok(paths.map(|path| folder.join(path).exists())))
}

#[test]
fn detach_refuses_a_folder_that_holds_nothing_of_an_agent() -> Result<()> {
    let machine = Machine::new()?;
    let others = machine.pins().with_file_name("others");
    let paths = ["tc/globals", "maps/theirs", "policy"];
    machine.inside(|| {
        paths.iter().try_for_each(|path| fs::create_dir_all(others.join(path)))?;
        Ok(())
    })?;
    let refused = detach(&machine, &others, &[])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(there(&machine, &others, paths)?, [true; 3], "{said}");
    assert_eq!(there(&machine, &others, ["links", "programs"])?, [false; 2], "{said}");
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("others holds no pins of an agent") && said.contains("tc"), "{said}");
    // The folder above the agent's own is not the agent's either.
    let above = machine.pins().with_file_name("");
    assert_eq!(detach(&machine, &above, &[])?.status.code(), Some(2));
    assert_eq!(there(&machine, &others, paths)?, [true; 3]);
    Ok(())
}

#[test]
fn detach_takes_its_own_and_leaves_what_others_pinned_beside() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    assert!(agent.terminate()?.success());
    let pins = machine.pins();
    let theirs = ["maps/theirs", "tc/globals"];
    machine.inside(|| {
        theirs.iter().try_for_each(|path| fs::create_dir_all(pins.join(path)))?;
        Ok(())
    })?;
    let done = detach(&machine, &pins, &[])?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(there(&machine, &pins, theirs)?, [true; 2], "{said}");
    assert_eq!(there(&machine, &pins, ["links", "programs", "maps/endpoints"])?, [false; 3]);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("pins in") && said.contains("maps/theirs was not removed"), "{said}");
    assert!(said.contains("policy/tc was not removed"), "{said}");
    until("no program is left", AWAY, || Ok(programs(&machine)? == Hooks::default()))?;
    Ok(())
}

#[test]
fn what_keeps_the_plugin_on_a_node_keeps_no_pins() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    assert!(agent.terminate()?.success());
    let conf_dir = tempfile::tempdir()?;
    fs::write(conf_dir.path().join("10-net.conflist"), "{\"plugins\": [{\"type\": \"policy-cni")?;
    let cni = |option: &str| format!("--cni-{option}-dir={}", conf_dir.path().display());
    let (conf, bin) = (cni("conf"), cni("bin"));
    let detach = |pins: &Path| {
        let output = detach(&machine, pins, &[&conf, &bin])?;
        Ok::<_, anyhow::Error>((output.status.code(), String::from_utf8(output.stderr)?))
    };
    let (code, said) = detach(&machine.pins())?;
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("cannot remove the plugin from") && said.contains("10-net.conflist"),
        "{said}"
    );
    assert!(!machine.inside(|| Ok(machine.pins().exists()))?, "the pins are left: {said}");
    until("everything passes", AWAY, || arrives(&machine, 5001))?;
    // Both failures are reported.
    let (code, said) = detach(conf_dir.path())?;
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains("cannot remove the plugin") && said.contains("is not on a bpffs"),
        "{said}"
    );
    Ok(())
}

#[test]
fn detach_leaves_nothing_and_only_when_nobody_runs() -> Result<()> {
    let (machine, agent) = enforced(&[])?;
    let detach = || detach(&machine, &machine.pins(), &[]);
    let refused = detach()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("another agent"), "{refused:?}");
    assert!(agent.terminate()?.success());
    assert!(!arrives(&machine, 5001)?, "the end of an agent opens nothing");
    let done = detach()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.starts_with("removed ") && !said.starts_with("removed 0 "), "{said}");
    // The kernel lets a link go a moment after its last pin.
    until("no program is left", AWAY, || Ok(programs(&machine)? == Hooks::default()))?;
    assert!(!machine.inside(|| Ok(machine.pins().exists()))?, "a folder is left");
    assert!(arrives(&machine, 5001)?, "everything passes");
    // Nothing is left: a folder that is missing, and one that is empty and stays.
    for is_there in [false, true] {
        let done = detach()?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(0), "{said}");
        assert!(said.starts_with("nothing is pinned in "), "{said}");
        assert_eq!(machine.inside(|| Ok(machine.pins().exists()))?, is_there);
        machine.inside(|| Ok(fs::create_dir_all(machine.pins())?))?;
    }
    Ok(())
}

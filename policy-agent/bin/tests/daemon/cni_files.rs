//! The chained plugin's files, where others write too, and where folders are not root's (S47).

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::{
    cni::chained,
    machine::{LIMIT, Machine, started, until},
    runtime::Runtime,
};

/// What an agent that listens counts under a name, if it knows it.
fn counted(machine: &Machine, name: &str) -> Result<Option<u64>> {
    let text = machine.ask("/metrics")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.map(str::parse).transpose()?)
}

#[test]
fn s47_a_program_that_keeps_rewriting_is_logged_once_and_the_plugin_is_restored_less_often()
-> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    let _agent = chained(&runtime, &machine, &["--listen", "127.0.0.1:9100"])?;
    let mut answered = Vec::new();
    for _ in 0..24 {
        let aside = runtime.conf_dir().join("aside");
        fs::write(&aside, runtime.configuration("1.0.0"))?;
        fs::rename(&aside, runtime.conflist())?;
        answered.push(until("it is put back", LIMIT, || Ok(runtime.is_chained()))?);
    }
    println!("put back after {answered:?}");
    // The first writes come at once, the next after a quarter of a second, half of one, and one.
    let late: Duration = answered.iter().skip(21).sum();
    ensure!(late >= Duration::from_millis(1500), "{late:?}");
    let errors = machine.said("stderr");
    assert_eq!(errors.matches("another program keeps removing the plugin").count(), 1);
    assert_eq!(counted(&machine, "policy_cni_entries_written_total")?, Some(25));
    Ok(())
}

#[test]
fn s47_a_gauge_says_whether_the_plugin_is_installed_where_it_is_meant_to_be() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    let listen = ["--listen", "127.0.0.1:9100"];
    let agent = machine.agent(&listen)?;
    until("it listens", LIMIT, || Ok(machine.ask("/healthz").is_ok()))?;
    assert_eq!(counted(&machine, "policy_cni_installed")?, None, "it was not requested");
    assert!(agent.terminate()?.success());
    let _agent = chained(&runtime, &machine, &listen)?;
    let is = |want| {
        until("the gauge", LIMIT, || {
            Ok(counted(&machine, "policy_cni_installed").is_ok_and(|found| found == Some(want)))
        })
    };
    is(1)?;
    fs::write(runtime.conflist(), "{\"cniVersion\": \"1.0.0\", \"plug")?;
    is(0)?;
    fs::write(runtime.conflist(), runtime.configuration("1.0.0"))?;
    is(1)?;
    Ok(())
}

#[test]
fn s47_the_gauge_is_right_during_pauses_and_without_the_program() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    let _agent = chained(&runtime, &machine, &["--listen", "127.0.0.1:9100"])?;
    let gauge = || counted(&machine, "policy_cni_installed");
    let is = |want, limit| until("the gauge", limit, || Ok(gauge()? == Some(want)));
    is(1, LIMIT)?;
    // Until pauses of a second and more follow on each write.
    for _ in 0..23 {
        fs::write(runtime.conflist(), runtime.configuration("1.0.0"))?;
        until("it is put back", LIMIT, || Ok(runtime.is_chained()))?;
    }
    fs::write(runtime.conflist(), runtime.configuration("1.0.0"))?;
    is(0, Duration::from_millis(900))?;
    ensure!(!runtime.is_chained(), "the pause is over");
    is(1, LIMIT)?;
    ensure!(runtime.is_chained(), "the entry is not there");
    let program = runtime.bin_dir().join("policy-cni");
    fs::remove_file(&program)?;
    is(0, Duration::from_millis(1900))?;
    ensure!(!program.exists(), "the pause is over");
    is(1, LIMIT)?;
    ensure!(program.exists(), "the program is not there");
    Ok(())
}

#[test]
fn a_slow_disk_delays_neither_answers_nor_the_end() -> Result<()> {
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    // A reader of a FIFO blocks until there is a writer.
    let late = runtime.bin_dir().join("late");
    mkfifo(&late, Mode::S_IRUSR)?;
    let program = format!("--cni-plugin={}", late.display());
    let options = runtime.options()?;
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.retain(|option| !option.starts_with("--cni-plugin="));
    options.extend([&*program, "--listen", "127.0.0.1:9100"]);
    let agent = machine.agent(&options)?;
    until("it answers", LIMIT, || {
        Ok(machine.ask("/healthz").is_ok_and(|said| said.contains("200")))
    })?;
    assert_eq!(counted(&machine, "policy_cni_installed")?, Some(0));
    assert!(agent.terminate_within(Duration::from_secs(5))?.success());
    Ok(())
}

/// A program that starts another with the capabilities of manifests of the workspace alone.
fn with_capabilities_of(manifests: &[&str]) -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests");
    let mut added = Vec::new();
    for manifest in manifests {
        let text = fs::read_to_string(folder.join(manifest))?;
        let mut lines = text.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            let list = line.strip_prefix("add: [").and_then(|list| list.strip_suffix(']'));
            added.extend(list.into_iter().flat_map(|list| list.split(", ")).map(str::to_lowercase));
            let is_op = line.ends_with("/securityContext/capabilities/add/-");
            let value = lines.peek().and_then(|next| next.strip_prefix("value: "));
            added.extend(value.filter(|_| is_op).map(str::to_lowercase));
        }
    }
    ensure!(!added.is_empty(), "{manifests:?} add no capability");
    let set = added.iter().fold("-all".to_owned(), |set, one| format!("{set},+{one}"));
    Ok(["setpriv", "--bounding-set", &set, "--"].map(ToOwned::to_owned).into())
}

#[test]
fn s47_folders_of_another_user_take_the_plugin_and_lose_it_with_the_manifests_capabilities()
-> Result<()> {
    const USER: u32 = 64_000;
    let machine = Machine::new()?;
    let runtime = Runtime::new(&machine)?;
    let conflist = runtime.conflist();
    let before = fs::read_to_string(&conflist)?;
    fs::set_permissions(&conflist, Permissions::from_mode(0o600))?;
    for path in [&conflist, &runtime.conf_dir(), &runtime.bin_dir()] {
        chown(path, Some(USER), Some(USER))?;
    }
    let is_as_before = || {
        let about = fs::metadata(&conflist)?;
        let found = (about.uid(), about.gid(), about.mode() & 0o777);
        ensure!(found == (USER, USER, 0o600), "{found:?}");
        Ok(())
    };
    let options = runtime.options()?;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let with = with_capabilities_of(&["base/daemonset.yaml", "components/cni/kustomization.yaml"])?;
    let agent = machine.agent_by(&with, &options)?;
    until("the plugin is chained", LIMIT, || Ok(runtime.is_chained()))?;
    is_as_before()?;
    assert!(agent.terminate()?.success());

    let mut detach = started(&with_capabilities_of(&["uninstall.yaml"])?);
    detach.args(runtime.detach_arguments());
    let detached = machine.inside(move || Ok(detach.output()?))?;
    ensure!(detached.status.success(), "{detached:?}");
    assert_eq!(fs::read_to_string(&conflist)?, before);
    is_as_before()?;
    assert_eq!(fs::read_dir(runtime.bin_dir())?.count(), 0, "the program is left");
    let run = runtime.socket();
    ensure!(!run.parent().context("a folder")?.exists(), "the socket's folder is left");
    Ok(())
}

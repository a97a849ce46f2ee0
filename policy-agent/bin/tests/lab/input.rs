//! Bad input, a missing privilege and a missing program: exit code and message.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use crate::program::{all_output, assert_code, feed, lab, lab_on, root};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: ns}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 80}]}]}
status: {podIPs: [{ip: 10.0.0.1}]}
";

fn pod(name: &str) -> String {
    POD.replace("NAME", name)
}

#[test]
fn broken_input_exits_2_and_says_what_is_wrong() -> io::Result<()> {
    let other = pod("c").replace("10.0.0.1", "10.0.0.2");
    let same_address = format!("{}---\n{}---\n{other}", pod("a"), pod("b"));
    #[rustfmt::skip]
    let cases: [(&str, &str, &[&str], &str); 5] = [
        ("no YAML",             "a: [",          &[],                     "error"),
        ("no object",           "",              &[],                     "no probe"),
        ("a shared address",    &same_address,   &[],                     "10.0.0.1"),
        ("an unknown pod",      &same_address,   &["--from", "ns/d"],     "ns/d"),
        ("no port",             &same_address,   &["--port", "http/TCP"], "80/TCP"),
    ];
    for (claim, text, arguments, message) in cases {
        let output = lab_on(text, arguments)?;
        println!("{claim}");
        assert_code(&output, 2);
        let text = all_output(&output);
        assert!(text.contains(message), "{message:?} is not in\n{text}");
        assert!(output.stdout.is_empty(), "{text}");
    }
    Ok(())
}

#[test]
fn a_missing_file_exits_2_and_is_named() -> io::Result<()> {
    let output = lab(&["-f", "no/such/file.yaml"]).output()?;
    assert_code(&output, 2);
    assert!(all_output(&output).contains("no/such/file.yaml"));
    Ok(())
}

#[test]
fn folders_in_a_folder_are_named() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("overlays"))?;
    fs::write(folder.path().join("pod.yaml"), pod("a"))?;
    let output = lab(&["-f"]).arg(folder.path()).output()?;
    assert_code(&output, 2);
    let said = all_output(&output);
    assert!(said.contains("folders in it are not read: overlays"), "{said}");
    Ok(())
}

#[test]
fn without_root_it_exits_3_and_asks_for_it() -> io::Result<()> {
    /// The user `nobody`.
    const NOBODY: u32 = 65534;
    // The target folder may be closed to others.
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let program = folder.path().join("policy-agent");
    fs::copy(env!("CARGO_BIN_EXE_policy-agent"), &program)?;
    let text = fs::read_to_string(root().join("examples/three-tier.yaml"))?;
    let mut command = Command::new(program);
    command.args(["lab", "-f", "-"]).uid(NOBODY).gid(NOBODY).current_dir("/");
    let output = feed(&mut command, &text)?;
    assert_code(&output, 3);
    assert!(all_output(&output).contains("root"), "{}", all_output(&output));
    Ok(())
}

#[test]
fn without_nft_it_exits_3_and_says_how_to_get_it() -> io::Result<()> {
    let output = lab(&["-f", "examples/three-tier.yaml"]).env("PATH", "/nowhere").output()?;
    assert_code(&output, 3);
    assert!(all_output(&output).contains("nftables"), "{}", all_output(&output));
    Ok(())
}

/// A probe that the lab cannot run has no verdict, so the table is not complete.
#[test]
fn a_probe_that_cannot_be_run_is_a_finding() -> io::Result<()> {
    let options = ["-f", "examples/three-tier.yaml", "--to", "127.0.0.1", "--port", "443"];
    let output = lab(&options).output()?;
    assert_code(&output, 1);
    assert!(all_output(&output).contains("cannot be probed: "), "{}", all_output(&output));
    Ok(())
}

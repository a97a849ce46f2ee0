//! Generated inputs, and what is run on them.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// A command on an input.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    /// Seconds and megabytes that it may take.
    pub(crate) bounds: (f64, f64),
}

/// Writes the inputs into a folder.
pub(crate) fn cases(folder: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let write = |name: &str, text: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    let mut add = |input: &str, text: &str, changed: &str, bounds, commands: &[&str]| {
        let name = input.replace(|character: char| !character.is_ascii_alphanumeric(), "-");
        let old = write(&format!("{name}.yaml"), text)?;
        let new = write(&format!("{name}-new.yaml"), changed)?;
        for command in commands {
            let files = if command.starts_with("diff") { vec![&old, &new] } else { vec![&old] };
            let words = command.split(' ').map(str::to_owned);
            let files = files.iter().flat_map(|file| ["-f".to_owned(), file.display().to_string()]);
            let arguments = words.chain(files).collect();
            cases.push(Case { name: format!("{command}, {input}"), arguments, bounds });
        }
        Ok::<(), anyhow::Error>(())
    };
    let (pods, more) = (policies(), allow("n1", 80));
    let all = [
        "list",
        "list -o json",
        "graph",
        "graph -o json",
        "diff",
        "diff -o json",
        "simulate",
        "simulate -o json",
    ];
    add("500 pods, 1,000 policies", &pods, &(pods.clone() + &more), (3.0, 300.0), &all)?;
    let many = many_pods();
    add("2,000 pods", &many, &(many.clone() + &more), (5.0, 500.0), &all)?;
    let (before, after) = blocks_and_ports();
    add(
        "100 pods, 300 blocks, 31 ports",
        &before,
        &after,
        (2.0, 200.0),
        &["diff", "diff -o json"],
    )?;
    let (before, after) = (many_blocks(0), many_blocks(1));
    add("100,000 blocks", &before, &after, (20.0, 1000.0), &["list", "graph", "diff", "simulate"])?;
    Ok(cases)
}

/// A namespace.
fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

/// A pod that declares port 80.
fn pod(namespace: &str, number: usize, labels: &str) -> String {
    let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{containers: [{{name: c, image: c, ports: [{{containerPort: 80}}]}}]}}\nstatus: {{podIPs: [{{ip: {address}}}]}}\n"
    )
}

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{spec}}}\n"
    )
}

/// A policy that opens a port of every pod of a namespace.
fn allow(namespace: &str, port: u16) -> String {
    policy(
        namespace,
        "more",
        &format!("podSelector: {{}}, ingress: [{{ports: [{{port: {port}}}]}}]"),
    )
}

/// 500 pods of 100 applications in 10 namespaces, and 1,000 policies between applications.
fn policies() -> String {
    let mut text: String = (0..10).map(|number| namespace(&format!("n{number}"))).collect();
    for number in 1..=500 {
        let labels = format!("app: a{}, tier: t{}", number / 10, number % 7);
        text += &pod(&format!("n{}", number % 10), number, &labels);
    }
    for number in 0..1000 {
        let (app, peer, tier) = (number / 10 % 50, number * 7 % 50, number % 7);
        let (port, block) = (80 + number % 13, number % 200);
        let spec = format!(
            "podSelector: {{matchLabels: {{app: a{app}}}}}, policyTypes: [Ingress, Egress], \
             ingress: [{{from: [{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{app: a{peer}}}}}}}], ports: [{{port: {port}}}]}}], \
             egress: [{{to: [{{namespaceSelector: {{}}, podSelector: {{matchLabels: {{tier: t{tier}}}}}}}]}}, {{to: [{{ipBlock: {{cidr: 192.168.{block}.0/24}}}}]}}]"
        );
        text += &policy(&format!("n{}", number % 10), &format!("np{number}"), &spec);
    }
    text
}

/// 2,000 pods of 2,000 applications in 20 namespaces, each of which admits its own pods.
fn many_pods() -> String {
    let mut text: String = (0..20).map(|number| namespace(&format!("n{number}"))).collect();
    for number in 1..=2000 {
        text += &pod(&format!("n{}", number % 20), number, &format!("app: application-{number}"));
    }
    for number in 0..20 {
        let spec = "podSelector: {}, ingress: [{from: [{podSelector: {}}]}]";
        text += &policy(&format!("n{number}"), "own", spec);
    }
    text
}

/// 100 pods that are shut, and open to 300 blocks at 31 ports.
fn blocks_and_ports() -> (String, String) {
    let pods: String =
        (1..=100).map(|number| pod("one", number, &format!("app: a{number}"))).collect();
    let block =
        |number| format!("{{ipBlock: {{cidr: 172.{}.{}.0/24}}}}", 16 + number / 200, number % 200);
    let blocks = (0..300).map(block).collect::<Vec<_>>().join(", ");
    let ports = (0..31).map(|number| format!("{{port: {}}}", 1000 + 2 * number));
    let ports = ports.collect::<Vec<_>>().join(", ");
    let both = "podSelector: {}, policyTypes: [Ingress, Egress]";
    let open = format!(
        "{both}, ingress: [{{from: [{blocks}], ports: [{ports}]}}], egress: [{{to: [{blocks}], ports: [{ports}]}}]"
    );
    (pods.clone() + &policy("one", "p", both), pods + &policy("one", "p", &open))
}

/// 10 pods and 100 policies with 1,000 blocks each; `shift` changes the ports.
fn many_blocks(shift: usize) -> String {
    let mut text: String =
        (1..=10).map(|number| pod("one", number, &format!("app: a{number}"))).collect();
    for number in 0..100 {
        let mut spec = format!(
            "podSelector: {{}}, policyTypes: [Egress], egress: [{{ports: [{{port: {}}}], to: [",
            1000 + number % 31 + shift
        );
        for block in number * 1000..(number + 1) * 1000 {
            let (a, b, c) = (20 + (block >> 16), block >> 8 & 255, block & 255);
            // Writing to a string does not fail.
            let _ = write!(spec, "\n    {{ipBlock: {{cidr: {a}.{b}.{c}.0/24}}}},");
        }
        text += &policy("one", &format!("b{number}"), &(spec + "]}]"));
    }
    text
}

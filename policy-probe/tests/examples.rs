//! The compiler gives every example the verdicts that its expectations list.

use policy_core::{
    compile::{Scope, compile},
    explain::explain,
};
use policy_manifest::{Source, read, read_expectations, render};
use policy_probe::{Row, Selection, Table, check, choose, text};

#[test]
fn the_compiler_meets_the_expectations_of_the_examples() {
    #[rustfmt::skip]
    let cases = [
        ("three-tier",           include_str!("../../examples/three-tier.yaml"),           include_str!("../../examples/three-tier.expect.yaml")),
        ("deny-nodes",           include_str!("../../examples/deny-nodes.yaml"),           include_str!("../../examples/deny-nodes.expect.yaml")),
        ("deny-nodes-allow-api", include_str!("../../examples/deny-nodes-allow-api.yaml"), include_str!("../../examples/deny-nodes-allow-api.expect.yaml")),
    ];
    for (name, manifests, expectations) in cases {
        let source = |text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let manifests = read(&[source(manifests)])
            .unwrap_or_else(|errors| panic!("{}", render(&errors, false)));
        let expectations = read_expectations(&source(expectations))
            .unwrap_or_else(|errors| panic!("{}", render(&errors, false)));
        let probes = choose(&manifests, &Selection::default(), Some(&expectations));
        let (desired, faults) = compile(&manifests.snapshot, Scope::Cluster);
        assert_eq!(faults, [], "{name}");
        let rows = probes.expect("probes").into_iter().map(|probe| {
            let explanation = explain(&manifests.snapshot, &desired, &probe.question());
            Row::new(&probe, &explanation.expect("both ends exist"), None)
        });
        let table = Table { probes: rows.collect() };
        let mismatches = check(&table.probes, &expectations);
        let drawn = text(&table, &mismatches, policy_probe::Style::default());
        assert!(mismatches.is_empty(), "{name}\n{drawn}");
        println!("{drawn}");
    }
}

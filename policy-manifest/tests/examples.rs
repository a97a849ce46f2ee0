//! Every example is read.

use std::{fs, path::Path};

use policy_manifest::{Source, read, read_expectations, render};

#[test]
fn every_example_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("the examples are beside the crate") {
        let path = entry.expect("a readable folder").path();
        let name = path.display().to_string();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable file");
        let expectations = name.ends_with(".expect.yaml");
        let source = Source { name, text };
        let errors = if expectations {
            read_expectations(&source).err()
        } else {
            read(std::slice::from_ref(&source)).err()
        };
        assert_eq!(errors.map(|errors| render(&errors, false)), None);
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} examples");
}

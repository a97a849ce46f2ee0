//! `policyctl lint --fix`.

use std::{fs, io, path::Path, process::Output};

use crate::program::{answer, assert_answers, assert_code, policyctl, printed};

/// Pods, so that verdicts can be compared, and findings that need no decision.
const REPOSITORY: &str = "\
# The shop.
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  # our own pods
  - from:
    - podSelector: {}        # all of them
    - podSelector:           # and one more
        matchLabels:
          app: web
    ports: [{port: 80}]
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: egress, namespace: shop}
spec:
  podSelector: {}
  egress: [{}]
---
# Denies what the one above denies.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
";

/// The same with its findings fixed.
const FIXED: &str = "\
# The shop.
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  # our own pods
  - from:
    - podSelector: {}        # all of them
    ports: [{port: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: egress, namespace: shop}
spec:
  podSelector: {}
  egress: [{}]
  policyTypes: [Ingress, Egress]
";

fn fix(folder: &Path, arguments: &[&str]) -> io::Result<Output> {
    let mut command = policyctl(&["lint", "--fix", "-f", "shop.yaml"]);
    command.args(arguments).current_dir(folder).output()
}

#[test]
fn mechanical_findings_are_fixed_and_all_other_text_stays() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.yaml");
    fs::write(&file, REPOSITORY)?;
    let output = fix(folder.path(), &["--dry-run"])?;
    assert_code(&output, 1);
    assert_eq!(fs::read_to_string(&file)?, REPOSITORY, "a dry run writes nothing");
    assert_answers(
        &output,
        &["--- shop.yaml", "+++ shop.yaml", "-    - podSelector:  ", "+    ports: [{port: 8080}]"],
    );
    assert!(!answer(&output).contains("error"), "{}", printed(&output));

    let output = fix(folder.path(), &[])?;
    let text = fs::read_to_string(&file)?;
    let flow = |text: &str| {
        text.replace(
            "  policyTypes:\n    - Ingress\n    - Egress\n",
            "  policyTypes: [Ingress, Egress]\n",
        )
        .replace("  policyTypes:\n  - Ingress\n  - Egress\n", "  policyTypes: [Ingress, Egress]\n")
    };
    assert_eq!(flow(&text), FIXED, "{}", printed(&output));
    assert_code(&output, 0);
    for code in ["NP004", "NP012", "NP024", "NP026"] {
        assert!(!answer(&output).contains(code), "{}", printed(&output));
        assert!(
            printed(&output).contains(&format!("shop.yaml: {code} of shop/")),
            "{}",
            printed(&output)
        );
    }
    // A second run has nothing to do.
    fix(folder.path(), &[])?;
    assert_eq!(fs::read_to_string(&file)?, text);
    Ok(())
}

#[test]
fn what_is_suppressed_or_not_in_a_file_is_left_as_it_is() -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.yaml");
    let suppressed =
        REPOSITORY.replace("# Denies what", "# policyctl:ignore NP026 for a reader\n# Denies what");
    fs::write(&file, &suppressed)?;
    fix(folder.path(), &[])?;
    assert!(fs::read_to_string(&file)?.contains("name: deny"), "a suppressed finding is fixed");
    // JSON has no place for such edits, and the only document of a file is not removed.
    fs::write(
        &file,
        "{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\", \"metadata\": {\"name\": \"p\"}, \"spec\": {\"podSelector\": {}, \"egress\": [{}]}}\n",
    )?;
    let before = fs::read_to_string(&file)?;
    let output = fix(folder.path(), &[])?;
    assert_code(&output, 1);
    assert_eq!(fs::read_to_string(&file)?, before);
    assert!(printed(&output).contains("is left as it is"), "{}", printed(&output));
    assert_code(&policyctl(&["lint", "--dry-run", "-f", "x"]).output()?, 2);
    Ok(())
}

//! Images that are built on this machine, because a test cannot fetch any.

use std::path::PathBuf;

use anyhow::Result;
use xtask::image::{self, Content, POD_IMAGE};

use super::layout::Layout;
use super::programs::Suite;

/// The image of the test program in pods, which is the pause image too.
pub fn pod() -> Result<PathBuf> {
    image::build_pod()
}

/// Its name as containerd writes it.
pub fn pod_name() -> String {
    format!("docker.io/library/{POD_IMAGE}")
}

/// The server of the upstream suite, under one of its names.
pub fn agnhost(layout: &Layout, suite: &Suite, image: &str) -> Result<PathBuf> {
    let archive = layout.root.join("agnhost.tar");
    let programs = vec![suite.agnhost.clone()];
    let content = Content { programs, libraries: Vec::new(), arguments: &["pause"] };
    image::write(&content, image, &archive)?;
    Ok(archive)
}

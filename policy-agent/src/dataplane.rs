//! The classifiers and their maps: all that this crate knows of the kernel's BPF side.

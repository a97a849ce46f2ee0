//! Refuses an eBPF object that calls a memory function.
//!
//! `memcpy` and its like are subprograms there, which copy byte by byte: 24 ns for an endpoint. The
//! compiler inserts them for a copy of a value that is aligned as bytes are, and for padding.

use anyhow::{Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind};

const MEMORY_FUNCTIONS: [&str; 5] = ["memcpy", "memmove", "memset", "memcmp", "bcmp"];

/// Fails if code in the object refers to a memory function.
pub(super) fn refuse_memory_functions(file: &object::File<'_>) -> Result<()> {
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let name = file.symbol_by_index(index)?.name()?;
            if MEMORY_FUNCTIONS.contains(&name) {
                let caller = caller(file, &section, offset).unwrap_or("a static function");
                bail!(
                    "{caller} of the programs calls {name}, which copies byte by byte: \
                     use words (`copy_words` and `zero_words` of policy-ebpf/src/element.rs)"
                );
            }
        }
    }
    Ok(())
}

/// The function that has the instruction at an offset of a section.
fn caller<'data>(
    file: &object::File<'data>,
    section: &impl ObjectSection<'data>,
    offset: u64,
) -> Option<&'data str> {
    let symbols = file.symbols().filter(|symbol| symbol.section_index() == Some(section.index()));
    let mut around = symbols
        .filter(|symbol| (symbol.address()..symbol.address() + symbol.size()).contains(&offset));
    around.next()?.name().ok()
}

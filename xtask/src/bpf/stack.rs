//! Refuses an eBPF object with a chain of calls that needs more stack than old kernels have.
//!
//! All frames of a chain share 512 bytes, and each counts as a multiple of 32 at least (Linux 5.10,
//! `check_max_stack_depth` in kernel/bpf/verifier.c). Newer kernels round less, so that an object
//! that no longer loads on an old one still loads on the machine that builds it:
//!
//! ```text
//! from_pod 8 bytes → classify_sent4 200 → drops_report 24
//! counts as 32     +               224  +             32   = 288 of 512
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionKind, SymbolKind};

/// Bytes that the frames of a chain of calls share.
const LIMIT: u64 = 512;
/// The part of the stack that a frame is a multiple of.
const ROUNDING: u64 = 32;

/// The register with the end of the frame.
const FRAME: u8 = 10;

/// Instructions (include/uapi/linux/bpf.h).
mod code {
    pub(super) const CALL: u8 = 0x85;
    pub(super) const MOVE: u8 = 0xbf;
    pub(super) const ADD_NUMBER: u8 = 0x07;
    /// Value of the source register in a call of a subprogram.
    pub(super) const SUBPROGRAM: u8 = 1;
    pub(super) const CLASS: u8 = 0x07;
    pub(super) const LOAD: u8 = 0x01;
    pub(super) const STORE_NUMBER: u8 = 0x02;
    pub(super) const STORE: u8 = 0x03;
}

/// A place in an object: number of the section, and bytes from its start.
type CodePlace = (usize, u64);

#[derive(Debug, Default)]
struct Function {
    name: String,
    /// Bytes of its frame.
    frame: u64,
    calls: Vec<CodePlace>,
}

/// One instruction of eight bytes.
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    offset: i16,
    number: i32,
}

impl Instruction {
    fn read(bytes: [u8; 8]) -> Self {
        let [code, registers, low, high, number @ ..] = bytes;
        Self {
            code,
            to: registers & 0x0f,
            from: registers >> 4,
            offset: i16::from_le_bytes([low, high]),
            number: i32::from_le_bytes(number),
        }
    }
}

/// Fails if a chain of calls in the object needs more than [`LIMIT`] bytes.
pub(super) fn refuse_deep_stacks(file: &object::File<'_>) -> Result<()> {
    let functions = read(file)?;
    for place in functions.keys() {
        let chain = deepest(&functions, *place);
        let depth: u64 = chain.iter().map(|function| counted(function.frame)).sum();
        if depth > LIMIT {
            let frames: Vec<_> =
                chain.iter().map(|one| format!("{} {}", one.name, one.frame)).collect();
            bail!(
                "Linux 5.10 would not load the programs: this chain of calls needs {depth} bytes of \
                 stack, and {LIMIT} is the limit: {}",
                frames.join(" → ")
            );
        }
    }
    Ok(())
}

/// What the verifier counts for a frame.
fn counted(frame: u64) -> u64 {
    frame.max(1).next_multiple_of(ROUNDING)
}

/// The chain of calls from a function that needs most; programs have no recursion.
fn deepest(functions: &BTreeMap<CodePlace, Function>, place: CodePlace) -> Vec<&Function> {
    let Some(function) = functions.get(&place) else { return Vec::new() };
    let need = |chain: &Vec<&Function>| chain.iter().map(|one| counted(one.frame)).sum::<u64>();
    let called = function.calls.iter().map(|called| deepest(functions, *called)).max_by_key(need);
    std::iter::once(function).chain(called.unwrap_or_default()).collect()
}

/// The functions of an object by their places.
fn read(file: &object::File<'_>) -> Result<BTreeMap<CodePlace, Function>> {
    let mut functions = BTreeMap::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let number = section.index().0;
        // Calls that the loader resolves: the symbol is the called function, or its section.
        let mut relocated = BTreeMap::new();
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let symbol = file.symbol_by_index(index)?;
            if let Some(target) = symbol.section_index() {
                let is_section = symbol.kind() == SymbolKind::Section;
                relocated.insert(offset, (target.0, symbol.address(), is_section));
            }
        }
        let data = section.data()?;
        for symbol in file.symbols() {
            let is_here = symbol.section_index() == Some(section.index());
            if !is_here || symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
                continue;
            }
            let (start, end) = (symbol.address(), symbol.address() + symbol.size());
            let code = data
                .get(usize::try_from(start)?..usize::try_from(end)?)
                .context("a function lies outside of its section")?;
            let mut function = function(code);
            for (at, number_of_call) in function.1 {
                let offset = start + at;
                // From the instruction after the call.
                let jump = |from: u64| from.checked_add_signed((i64::from(number_of_call) + 1) * 8);
                let called = match relocated.get(&offset) {
                    Some((target, _, true)) => jump(0).map(|place| (*target, place)),
                    Some((target, address, false)) => Some((*target, *address)),
                    None => jump(offset).map(|place| (number, place)),
                };
                function.0.calls.push(called.context("a call leads outside of the object")?);
            }
            function.0.name = readable(symbol.name()?);
            functions.insert((number, start), function.0);
        }
    }
    Ok(functions)
}

/// The name of a function as its source has it: `flow::table::read`, without the hash behind it.
fn readable(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// The frame of a function, and its calls of subprograms: bytes from its start, and the number in
/// the instruction.
fn function(code: &[u8]) -> (Function, Vec<(u64, i32)>) {
    let mut function = Function::default();
    let mut calls = Vec::new();
    // Registers that hold the end of the frame, from which an address in it is computed next.
    let mut ends = [false; 16];
    let (instructions, _) = code.as_chunks::<8>();
    for (at, bytes) in (0_u64..).step_by(8).zip(instructions) {
        let one = Instruction::read(*bytes);
        let accessed = match one.code & code::CLASS {
            code::LOAD if one.from == FRAME => Some(i32::from(one.offset)),
            code::STORE | code::STORE_NUMBER if one.to == FRAME => Some(i32::from(one.offset)),
            _ if one.code == code::ADD_NUMBER && ends[usize::from(one.to)] => Some(one.number),
            _ => None,
        };
        if let Some(offset @ ..0) = accessed {
            function.frame = function.frame.max(u64::from(offset.unsigned_abs()));
        }
        if one.code == code::CALL && one.from == code::SUBPROGRAM {
            calls.push((at, one.number));
        }
        ends[usize::from(one.to)] = one.code == code::MOVE && one.from == FRAME;
    }
    (function, calls)
}

#[cfg(test)]
mod tests {
    use super::{Function, deepest, function, readable};

    #[test]
    fn a_chain_names_functions_as_the_sources_do() {
        let generic = "_ZN11policy_ebpf4flow5table4read17h0123456789abcdefE";
        assert_eq!(readable(generic), "policy_ebpf::flow::table::read");
        assert_eq!(readable("classify_sent4"), "classify_sent4", "an entry keeps its name");
    }

    #[test]
    fn a_frame_reaches_as_far_as_its_accesses_and_addresses() {
        #[rustfmt::skip]
        let code = [
            0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0,             // *(u64 *)(r10 - 8) = r1
            0xbf, 0xa2, 0, 0, 0, 0, 0, 0,                   // r2 = r10
            0x07, 0x02, 0, 0, 0xd8, 0xff, 0xff, 0xff,       // r2 += -40
            0x07, 0x03, 0, 0, 0x00, 0xff, 0xff, 0xff,       // r3 += -256: no address in the frame
            0x85, 0x10, 0, 0, 5, 0, 0, 0,                   // call the subprogram 5 further on
            0x85, 0x00, 0, 0, 1, 0, 0, 0,                   // call a helper
            0x95, 0, 0, 0, 0, 0, 0, 0,                      // exit
        ];
        let (function, calls) = function(&code);
        assert_eq!((function.frame, calls), (40, vec![(32, 5)]));
    }

    #[test]
    fn the_deepest_chain_counts_rounded_frames() {
        let function = |name: &str, frame, calls: &[u64]| Function {
            name: name.to_owned(),
            frame,
            calls: calls.iter().map(|at| (1, *at)).collect(),
        };
        let functions = [
            ((1, 0), function("from_pod", 0, &[8, 16])),
            // Two small frames count as 64, one of 40 too, and the one called by it decides.
            ((1, 8), function("small", 8, &[24])),
            ((1, 16), function("large", 40, &[24])),
            ((1, 24), function("leaf", 1, &[])),
        ];
        let functions = functions.into();
        let chain: Vec<_> =
            deepest(&functions, (1, 0)).iter().map(|one| one.name.as_str()).collect();
        assert_eq!(chain, ["from_pod", "large", "leaf"]);
    }
}

//! Executes a program of the object instruction by instruction, and counts what it does.
//!
//! Input is a packet and what maps hold; output is a [`Cost`]. `cost` calls it. It has what a packet of
//! a known flow needs; everything else is a panic that names it.
//!
//! An address is the number of a region in its upper half and an offset in the lower one:
//!
//! ```text
//! region 0            the context          region 1            the packet
//! region 2 and more   stacks, map values   region MAPS + n     no memory: a pointer to map n
//! ```
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "registers hold numbers of every width and sign"
)]

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use aya_obj::{Object, generated::bpf_insn};
use policy_common::drops::Direction;

use crate::rig::{IFINDEX, object};

const CONTEXT: u64 = 0;
const PACKET: u64 = 1;
const MAPS: u64 = 1 << 31;

/// Offsets in `struct __sk_buff`.
const DATA: usize = 76;
const DATA_END: usize = 80;

/// Register of the end of the stack.
const FRAME: usize = 10;

/// Registers that a subprogram leaves as they are.
const SAVED: [usize; 5] = [6, 7, 8, 9, FRAME];

/// Instructions that end a stretch of code.
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// Count of ticks since the machine started; one is [`TICK`] nanoseconds.
const TICKS: u64 = 25_000;
const TICK: u64 = 4_000_000;

/// The time that programs see, nanoseconds.
pub(crate) const NOW: u64 = TICKS * TICK;

/// What a program did.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// The TC action.
    pub(crate) action: i32,
    pub(crate) instructions: usize,
    /// Look-ups by the name of their map, and other helper functions by theirs.
    pub(crate) calls: Vec<String>,
}

/// The programs, and the memory that they see.
pub(crate) struct Machine {
    object: Object,
    /// Name and bytes of a key.
    maps: Vec<(String, usize)>,
    entries: HashMap<(u64, Vec<u8>), u64>,
    /// Region of the data of a map of global variables.
    globals: HashMap<u64, u64>,
    regions: Vec<Vec<u8>>,
}

/// A program under way.
#[derive(Default)]
struct Run {
    registers: [u64; 11],
    /// The next instruction.
    place: usize,
    returns: Vec<Caller>,
    cost: Cost,
}

/// Where a subprogram returns to.
struct Caller {
    place: usize,
    saved: [u64; 5],
}

impl Machine {
    /// Loads the object; its maps are empty.
    pub(crate) fn new() -> Self {
        let mut object = Object::parse(&object()).unwrap();
        let tick = TICK.to_ne_bytes();
        object.patch_map_data(HashMap::from([("CLOCK_TICK", (&tick[..], true))])).unwrap();
        let maps = object.maps.clone();
        let numbered = || (0_i32..).zip(&maps);
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let by_name = numbered().map(|(number, (name, map))| (name.as_str(), number, map));
        object.relocate_maps(by_name, &text).unwrap();
        object.relocate_calls(&text).unwrap();
        let mut machine = Self {
            object,
            maps: Vec::new(),
            entries: HashMap::new(),
            globals: HashMap::new(),
            regions: vec![Vec::new(), Vec::new()],
        };
        for (number, (name, map)) in numbered() {
            machine.maps.push((name.clone(), map.key_size() as usize));
            if !map.data().is_empty() {
                let region = machine.region(map.data().to_vec());
                machine.globals.insert(number as u64, region);
            }
        }
        machine
    }

    /// Writes an element of a map.
    pub(crate) fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        let number = self.number(map);
        let region = self.region(value.to_vec());
        self.entries.insert((number, key.to_vec()), region << 32);
    }

    /// Creates a map with keys of this many bytes, and puts it at a place of a map of maps; its name.
    pub(crate) fn put_map(&mut self, index: &str, place: u32, key: usize) -> String {
        let name = format!("{index}[{place}]");
        self.maps.push((name.clone(), key));
        let pointer = (MAPS + self.number(&name)) << 32;
        self.entries.insert((self.number(index), place.to_ne_bytes().to_vec()), pointer);
        name
    }

    /// Executes a program for a packet that came in by [`IFINDEX`].
    pub(crate) fn run(&mut self, direction: Direction, packet: &[u8]) -> Cost {
        let name = if direction == Direction::Egress { "from_pod" } else { "to_pod" };
        let mut context = vec![0; 192];
        let protocol = u32::from(u16::from_ne_bytes([packet[12], packet[13]]));
        let length = packet.len() as u32;
        for (at, word) in [(0, length), (16, protocol), (36, IFINDEX), (40, IFINDEX)] {
            context[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        self.regions[CONTEXT as usize] = context;
        self.regions[PACKET as usize] = packet.to_vec();
        let program = &self.object.programs[name];
        let code = self.object.functions[&program.function_key()].instructions.clone();
        self.execute(&code)
    }

    fn execute(&mut self, code: &[bpf_insn]) -> Cost {
        let mut run = Run::default();
        run.registers[1] = CONTEXT << 32;
        run.registers[FRAME] = self.stack();
        loop {
            let one = code[run.place];
            run.place += 1;
            run.cost.instructions += 1;
            match one.code & 0x07 {
                0x00 => {
                    let second = code[run.place].imm;
                    run.registers[to(one)] = self.immediate(one.src_reg(), one.imm, second);
                    run.place += 1;
                }
                0x01..=0x03 => self.access(one, &mut run.registers),
                0x04 | 0x07 => run.calculate(one),
                0x05 if one.code == CALL => self.call(one, &mut run),
                0x05 if one.code == EXIT => match run.returns.pop() {
                    Some(caller) => run.go_back(&caller),
                    None => return Cost { action: run.registers[0] as i32, ..run.cost },
                },
                _ => run.jump(one),
            }
        }
    }

    /// Reads or writes memory.
    fn access(&mut self, one: bpf_insn, registers: &mut [u64; 11]) {
        let size = match one.code & 0xf8 {
            0x60 => 4,
            0x68 => 2,
            0x70 => 1,
            0x78 => 8,
            mode => panic!("access to memory of mode {mode:#04x}"),
        };
        let place = |address: u64| address.wrapping_add_signed(one.off.into());
        match one.code & 0x07 {
            0x01 => registers[to(one)] = self.load(place(registers[from(one)]), size),
            0x02 => self.store(place(registers[to(one)]), size, i64::from(one.imm) as u64),
            _ => self.store(place(registers[to(one)]), size, registers[from(one)]),
        }
    }

    /// Calls a subprogram or a helper function.
    fn call(&mut self, one: bpf_insn, run: &mut Run) {
        if one.src_reg() == 0 {
            run.registers[0] = self.help(one.imm, &run.registers, &mut run.cost.calls);
            return;
        }
        let saved = SAVED.map(|number| run.registers[number]);
        run.returns.push(Caller { place: run.place, saved });
        run.go(one.imm);
        run.registers[FRAME] = self.stack();
    }

    /// The value of an instruction of two words: a number, a map, or the place of a global variable.
    fn immediate(&self, kind: u8, first: i32, second: i32) -> u64 {
        match kind {
            0 => u64::from(first as u32) | u64::from(second as u32) << 32,
            1 => (MAPS + first as u64) << 32,
            2 => self.globals[&(first as u64)] << 32 | u64::from(second as u32),
            kind => panic!("a number of kind {kind}"),
        }
    }

    /// What a helper function returns.
    fn help(&mut self, number: i32, registers: &[u64; 11], calls: &mut Vec<String>) -> u64 {
        match number {
            1 => {
                let map = (registers[1] >> 32).checked_sub(MAPS).expect("a map");
                let (name, size) = &self.maps[map as usize];
                calls.push(name.clone());
                let key = self.bytes(registers[2], *size).to_vec();
                self.entries.get(&(map, key)).copied().unwrap_or_default()
            }
            118 => {
                calls.push("ticks".to_owned());
                TICKS
            }
            number => panic!("helper function {number}"),
        }
    }

    fn number(&self, map: &str) -> u64 {
        let place = self.maps.iter().position(|(name, _)| name == map);
        place.unwrap_or_else(|| panic!("map {map}")) as u64
    }

    fn region(&mut self, bytes: Vec<u8>) -> u64 {
        self.regions.push(bytes);
        self.regions.len() as u64 - 1
    }

    /// The end of a new stack.
    fn stack(&mut self) -> u64 {
        self.region(vec![0; 512]) << 32 | 512
    }

    fn bytes(&self, address: u64, size: usize) -> &[u8] {
        let at = address as u32 as usize;
        &self.regions[(address >> 32) as usize][at..at + size]
    }

    fn load(&self, address: u64, size: usize) -> u64 {
        // The kernel puts addresses in the place of these two words.
        match (address >> 32, address as u32 as usize) {
            (CONTEXT, DATA) => PACKET << 32,
            (CONTEXT, DATA_END) => PACKET << 32 | self.regions[PACKET as usize].len() as u64,
            _ => {
                let mut word = [0; 8];
                word[..size].copy_from_slice(self.bytes(address, size));
                u64::from_le_bytes(word)
            }
        }
    }

    fn store(&mut self, address: u64, size: usize, value: u64) {
        let at = address as u32 as usize;
        let region = &mut self.regions[(address >> 32) as usize];
        region[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
}

impl Run {
    fn go(&mut self, by: i32) {
        self.place = self.place.strict_add_signed(by as isize);
    }

    fn go_back(&mut self, caller: &Caller) {
        self.place = caller.place;
        for (number, value) in SAVED.into_iter().zip(caller.saved) {
            self.registers[number] = value;
        }
    }

    /// The second operand.
    fn operand(&self, one: bpf_insn) -> u64 {
        if one.code & 0x08 == 0 { i64::from(one.imm) as u64 } else { self.registers[from(one)] }
    }

    fn calculate(&mut self, one: bpf_insn) {
        let (a, b) = (self.registers[to(one)], self.operand(one));
        self.registers[to(one)] = match one.code {
            0xd4 | 0xdc => swap(one, a),
            code if code & 0x07 == 0x07 => calculate(code, a, b, 63, (a as i64) >> (b & 63)),
            code => {
                let (a, b) = (a as u32, b as u32);
                let shifted = i64::from((a as i32) >> (b & 31));
                u64::from(calculate(code, a.into(), b.into(), 31, shifted) as u32)
            }
        };
    }

    fn jump(&mut self, one: bpf_insn) {
        let (a, b) = (self.registers[to(one)], self.operand(one));
        let holds = if one.code & 0x07 == 0x05 {
            compare(one.code, a, b, (a as i64).cmp(&(b as i64)))
        } else {
            let (a, b) = (a as u32, b as u32);
            compare(one.code, a.into(), b.into(), (a as i32).cmp(&(b as i32)))
        };
        if holds {
            self.go(one.off.into());
        }
    }
}

/// The register that an instruction writes.
fn to(one: bpf_insn) -> usize {
    one.dst_reg().into()
}

/// The register that it reads.
fn from(one: bpf_insn) -> usize {
    one.src_reg().into()
}

/// A value in the other byte order.
fn swap(one: bpf_insn, value: u64) -> u64 {
    match (one.code & 0x08, one.imm) {
        (0x08, 16) => u64::from((value as u16).swap_bytes()),
        (0x08, 32) => u64::from((value as u32).swap_bytes()),
        (0x08, 64) => value.swap_bytes(),
        (order, bits) => panic!("byte order {order:#04x} of {bits} bits"),
    }
}

/// The result of an instruction that calculates; `arithmetic` is that of a shift with sign.
fn calculate(kind: u8, a: u64, b: u64, bits: u64, arithmetic: i64) -> u64 {
    match kind & 0xf0 {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b).unwrap_or(0),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << (b & bits),
        0x70 => a >> (b & bits),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(b).unwrap_or(a),
        0xa0 => a ^ b,
        0xb0 => b,
        0xc0 => arithmetic as u64,
        kind => panic!("calculation {kind:#04x}"),
    }
}

/// Whether a jump is taken; `signed` is how the operands compare as numbers with a sign.
fn compare(kind: u8, a: u64, b: u64, signed: Ordering) -> bool {
    match kind & 0xf0 {
        0x00 => true,
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        0x50 => a != b,
        0x60 => signed.is_gt(),
        0x70 => signed.is_ge(),
        0xa0 => a < b,
        0xb0 => a <= b,
        0xc0 => signed.is_lt(),
        0xd0 => signed.is_le(),
        kind => panic!("jump {kind:#04x}"),
    }
}

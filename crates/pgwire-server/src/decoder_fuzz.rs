//! A short run of the fuzz harness with a seeded generator, so that every test run breaks some messages.
//!
//! The long runs are libFuzzer's (`fuzz/run`), from the same seeds and with the same harness.

use crate::harness::one_input;

/// A generator of numbers that are random enough (xorshift64*).
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Breaks an input in one of the ways that break messages.
fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], generator: &mut Generator) {
    let at = generator.below(input.len());
    match generator.below(7) {
        0 if !input.is_empty() => input[at] ^= 1 << generator.below(8),
        1 => input.insert(at, generator.next() as u8),
        2 => input.truncate(at),
        3 if !input.is_empty() => drop(input.remove(at)),
        4 if input.len() >= at + 4 => {
            let lengths = [0, 3, 4, 5, 255, 9_999, 10_000, 10_001, 65_535, 65_536, i32::MAX as u32, 1 << 31, u32::MAX];
            input[at..at + 4].copy_from_slice(&lengths[generator.below(lengths.len())].to_be_bytes());
        }
        5 => {
            let other = &others[generator.below(others.len())];
            let from = generator.below(other.len());
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let copy = input[at..].to_vec();
            input.extend_from_slice(&copy);
        }
    }
    input.truncate(4096);
}

#[test]
fn mutated_messages_are_errors_or_messages_and_nothing_else() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 7);
    let mut generator = Generator(0x5eed);
    for _ in 0..20_000 {
        let mut input = seeds[generator.below(seeds.len())].clone();
        for _ in 0..=generator.below(4) {
            mutate(&mut input, &seeds, &mut generator);
        }
        one_input(&input);
    }
}

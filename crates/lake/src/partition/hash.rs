//! The hash behind bucket partitions: Murmur3, x86 variant with 32 bits, seed 0, as Iceberg prescribes.

const C1: u32 = 0xcc9e_2d51;
const C2: u32 = 0x1b87_3593;

/// The hash of a value in the bytes of <https://iceberg.apache.org/spec/#appendix-b-32-bit-hash-requirements>.
pub(super) fn bucket_hash(bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= mixed(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
    if !rest.is_empty() {
        hash ^= mixed(tail);
    }
    hash ^= bytes.len() as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn mixed(block: u32) -> u32 {
    block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2)
}

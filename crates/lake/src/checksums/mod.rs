//! Checksums of data files, in the files.
//!
//! Parquet has a checksum in the header of each page, which arrow-rs verifies (feature `crc`) and does not write; footers and page
//! indexes have none in any case. So a bit that changes on its way through disks and networks would be a wrong value. Files that
//! Wharf writes carry checksums of all their bytes, as a key and value of the footer ([`KEY`]), where no other reader minds them:
//!
//! ```text
//! value  = tail ' ' data-bytes ' ' block-bytes ' ' blocks
//! tail   = the CRC-32 of everything behind the column chunks, 8 hexadecimal digits, computed with '0' in their place
//! blocks = the CRC-32 of each block of the column chunks, little-endian, in base64
//! ```
//!
//! The column chunks are bytes 0 to `data-bytes`, in blocks of `block-bytes`, of which the last is shorter. The tail (bloom filters,
//! page indexes, footer) contains the checksums, so it is verified as a whole. CRC-32 is that of gzip (IEEE 802.3).
//!
//! [`Checksums`] computes, [`VerifiedFiles`](verified::VerifiedFiles) verifies what is read.

mod remembered;
pub(crate) mod verified;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc32fast::Hasher;
use memchr::memmem;

/// The key in the footer. Its end is arbitrary, so that it is not found by chance in a bound of somebody's texts.
pub(crate) const KEY: &str = "wharf.crc32.e7d3b09c";
/// What is read at least when something is. Reading a little more than was asked for costs less than a request.
const BLOCK_BYTES: usize = 64 * 1024;
/// What stands for the tail's checksum until it is known.
const UNKNOWN_TAIL: &str = "00000000";

/// The checksums of a file that is being written.
pub(crate) struct Checksums {
    blocks: Vec<u32>,
    block: Hasher,
    block_bytes: usize,
    data_bytes: u64,
}

impl Checksums {
    pub(crate) fn new() -> Checksums {
        Checksums { blocks: Vec::new(), block: Hasher::new(), block_bytes: 0, data_bytes: 0 }
    }

    /// Takes the next bytes of column chunks.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.data_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block_bytes));
            self.block.update(now);
            self.block_bytes += now.len();
            if self.block_bytes == BLOCK_BYTES {
                self.end_block();
            }
            bytes = later;
        }
    }

    fn end_block(&mut self) {
        self.blocks.push(std::mem::take(&mut self.block).finalize());
        self.block_bytes = 0;
    }

    /// The value for the footer, when all column chunks are written; [`seal`] completes it.
    pub(crate) fn value(mut self) -> String {
        if self.block_bytes > 0 {
            self.end_block();
        }
        let blocks: Vec<u8> = self.blocks.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        format!("{UNKNOWN_TAIL} {} {BLOCK_BYTES} {}", self.data_bytes, STANDARD.encode(blocks))
    }
}

/// Writes the tail's checksum into it. False when it has no place for one.
pub(crate) fn seal(tail: &mut [u8]) -> bool {
    let Some(place) = place_of_tail_sum(tail) else {
        return false;
    };
    let sum = format!("{:08x}", crc32fast::hash(tail));
    tail[place..place + sum.len()].copy_from_slice(sum.as_bytes());
    true
}

/// What a file's footer says of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileSums {
    tail: u32,
    data_bytes: u64,
    block_bytes: u64,
    blocks: Vec<u32>,
}

impl FileSums {
    /// Finds the checksums in bytes that end where the file ends. None: it has none.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn find(end_of_file: &[u8]) -> Result<Option<FileSums>, String> {
        let Some(start) = place_of_tail_sum(end_of_file) else {
            return Ok(None);
        };
        FileSums::parse(&end_of_file[start..]).map(Some).ok_or_else(|| "its checksums are damaged".to_owned())
    }

    fn parse(value: &[u8]) -> Option<FileSums> {
        let mut parts = value.splitn(4, |byte| *byte == b' ');
        let mut text = || std::str::from_utf8(parts.next()?).ok();
        let (tail, data_bytes, block_bytes) = (text()?, text()?, text()?);
        let (data_bytes, block_bytes) = (data_bytes.parse::<u64>().ok()?, block_bytes.parse::<u64>().ok()?);
        if block_bytes == 0 {
            return None;
        }
        let count = usize::try_from(data_bytes.div_ceil(block_bytes)).ok()?;
        let encoded = parts.next()?.get(..count.checked_mul(4)?.div_ceil(3).checked_mul(4)?)?;
        let blocks = STANDARD.decode(encoded).ok()?;
        let (blocks, rest) = blocks.as_chunks::<4>();
        (blocks.len() == count && rest.is_empty()).then_some(())?;
        Some(FileSums {
            tail: u32::from_str_radix(tail, 16).ok()?,
            data_bytes,
            block_bytes,
            blocks: blocks.iter().map(|sum| u32::from_le_bytes(*sum)).collect(),
        })
    }

    /// About how many bytes this takes.
    fn weight(&self) -> usize {
        64 + 4 * self.blocks.len()
    }

    /// Whether this is the tail as it was written.
    fn is_tail(&self, tail: &[u8]) -> bool {
        let Some(place) = place_of_tail_sum(tail) else {
            return false;
        };
        let mut sum = Hasher::new();
        sum.update(&tail[..place]);
        sum.update(UNKNOWN_TAIL.as_bytes());
        sum.update(&tail[place + UNKNOWN_TAIL.len()..]);
        sum.finalize() == self.tail
    }
}

/// Where the value is in the end of a file: behind the last [`KEY`] and the header of a string, which is one byte for its type and
/// one to five for its length (Thrift's compact protocol).
fn place_of_tail_sum(end_of_file: &[u8]) -> Option<usize> {
    let key = memmem::rfind(end_of_file, KEY.as_bytes())? + KEY.len();
    let rest = end_of_file.get(key + 1..)?;
    let length = rest.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let place = key + 1 + length;
    end_of_file.get(place..place + UNKNOWN_TAIL.len()).map(|_| place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Column chunks, and a tail as Thrift writes it.
    fn file(data: &[u8]) -> Vec<u8> {
        let mut sums = Checksums::new();
        for piece in data.chunks(1000) {
            sums.update(piece);
        }
        let value = sums.value();
        let mut tail = b"indexes ".to_vec();
        tail.extend_from_slice(KEY.as_bytes());
        tail.push(0x18);
        let mut length = value.len();
        while length >= 0x80 {
            tail.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        tail.push(length as u8);
        tail.extend_from_slice(value.as_bytes());
        tail.extend_from_slice(b" end PAR1");
        assert!(seal(&mut tail));
        [data, &tail].concat()
    }

    #[test]
    fn sums_are_found_again() {
        for length in [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7] {
            let data: Vec<u8> = (0..length).map(|place| (place % 251) as u8).collect();
            let whole = file(&data);
            let found = FileSums::find(&whole[length..]).unwrap().unwrap();
            assert_eq!((found.data_bytes, found.blocks.len()), (length as u64, length.div_ceil(BLOCK_BYTES)));
            let expected: Vec<_> = data.chunks(BLOCK_BYTES).map(crc32fast::hash).collect();
            assert_eq!(found.blocks, expected);
            assert!(found.is_tail(&whole[length..]));
        }
    }

    #[test]
    fn any_bit_of_the_tail_matters() {
        let whole = file(b"data");
        let tail = &whole[4..];
        let found = FileSums::find(tail).unwrap().unwrap();
        for place in 0..tail.len() {
            let mut changed = tail.to_vec();
            changed[place] ^= 0x10;
            let noticed = match FileSums::find(&changed) {
                Ok(Some(sums)) => !sums.is_tail(&changed) || sums != found,
                Ok(None) | Err(_) => true,
            };
            assert!(noticed, "the byte at {place} may change");
        }
    }

    #[test]
    fn files_of_others_have_none() {
        assert_eq!(FileSums::find(b"some footer PAR1"), Ok(None));
        assert_eq!(FileSums::find(b""), Ok(None));
    }
}

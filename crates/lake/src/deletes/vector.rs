//! The bytes of a deletion vector: <https://iceberg.apache.org/puffin-spec/#deletion-vector-v1-blob-type>.
//!
//! The length of magic number and bitmap (4 bytes, big-endian), the magic number, the bitmap in the portable 64-bit format of
//! Roaring, and the CRC-32 of magic number and bitmap (4 bytes, big-endian).

use roaring::RoaringTreemap;

use crate::error::LakeError;

const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// The length at the beginning and the checksum at the end.
const FRAME_BYTES: usize = 8;

/// The blob of these positions.
pub(super) fn encode(positions: &RoaringTreemap) -> std::io::Result<Vec<u8>> {
    let mut bitmap = positions.clone();
    bitmap.optimize();
    let inner = MAGIC.len() + bitmap.serialized_size();
    let mut blob = Vec::with_capacity(inner + FRAME_BYTES);
    let length = u32::try_from(inner).map_err(std::io::Error::other)?;
    blob.extend(length.to_be_bytes());
    blob.extend(MAGIC);
    bitmap.serialize_into(&mut blob)?;
    blob.extend(crc32fast::hash(&blob[4..]).to_be_bytes());
    Ok(blob)
}

/// The positions in a blob of a file at this location.
///
/// # Errors
/// [`LakeError::Corrupt`] for bytes that are no deletion vector.
pub(super) fn decode(location: &str, blob: &[u8]) -> Result<RoaringTreemap, LakeError> {
    let corrupt = |reason: &str| LakeError::corrupt(location, reason);
    let (length, rest) = blob.split_first_chunk::<4>().ok_or_else(|| corrupt("the deletion vector is too short"))?;
    let (inner, crc) = rest.split_last_chunk::<4>().ok_or_else(|| corrupt("the deletion vector is too short"))?;
    if u32::from_be_bytes(*length) as usize != inner.len() {
        return Err(corrupt("the deletion vector has another length than it says"));
    }
    let bitmap = inner.strip_prefix(&MAGIC).ok_or_else(|| corrupt("it has no deletion vector at this place"))?;
    if crc32fast::hash(inner) != u32::from_be_bytes(*crc) {
        return Err(corrupt("the checksum of the deletion vector is wrong"));
    }
    let mut reader = bitmap;
    let positions =
        RoaringTreemap::deserialize_from(&mut reader).map_err(|error| LakeError::corrupt(location, error))?;
    if !reader.is_empty() {
        return Err(corrupt("the deletion vector has bytes after its end"));
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn positions_come_back() {
        let sets: [RoaringTreemap; 4] = [
            RoaringTreemap::new(),
            (0..100_000).collect(),
            [0, 7, 65_536, 1 << 31, 1 << 33, (1 << 40) + 3].into_iter().collect(),
            (0..1_000_000).step_by(3).collect(),
        ];
        for positions in sets {
            let blob = encode(&positions).unwrap();
            assert_eq!(decode("x", &blob).unwrap(), positions);
        }
    }

    /// Written by hand from the specifications of Puffin and of Roaring.
    #[test]
    fn the_layout_is_that_of_the_specification() {
        let blob = encode(&[1, 3].into_iter().collect()).unwrap();
        let mut expected = vec![0, 0, 0, 36, 0xD1, 0xD3, 0x39, 0x64];
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0]); // one bitmap of 32 bits
        expected.extend([0, 0, 0, 0]); // whose high bits are 0
        expected.extend([0x3A, 0x30, 0, 0, 1, 0, 0, 0]); // the cookie of bitmaps without runs, one container
        expected.extend([0, 0, 1, 0, 16, 0, 0, 0]); // its key, its cardinality less one, its offset
        expected.extend([1, 0, 3, 0]);
        assert_eq!(&blob[..blob.len() - 4], expected);
    }

    #[test]
    fn every_damage_is_an_error() {
        let blob = encode(&[1, 3, 1 << 35].into_iter().collect()).unwrap();
        for length in 0..blob.len() {
            assert!(decode("x", &blob[..length]).is_err(), "{length} bytes");
        }
        for i in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[i] ^= 0x41;
            let error = decode("file:///dv.puffin", &damaged).unwrap_err();
            assert!(error.to_string().starts_with("file \"file:///dv.puffin\" is damaged"), "{error}");
        }
        let longer = [&blob[..], &[0]].concat();
        assert!(decode("x", &longer).is_err());
    }
}

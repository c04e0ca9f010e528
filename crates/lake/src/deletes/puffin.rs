//! Puffin files with deletion vectors: <https://iceberg.apache.org/puffin-spec/>.
//!
//! Written whole in memory, as the vectors are. Reading needs no code here: a manifest says where in the file a vector is.

use bytes::Bytes;
use iceberg::metadata_columns::RESERVED_FIELD_ID_POS;
use serde_json::{Value, json};

const MAGIC: [u8; 4] = *b"PFA1";
/// No flag is set: the footer is not compressed.
const FLAGS: [u8; 4] = [0; 4];

/// A Puffin file in the making.
pub(super) struct PuffinFile {
    bytes: Vec<u8>,
    blobs: Vec<Value>,
}

/// Where in the file a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl PuffinFile {
    pub(super) fn new() -> PuffinFile {
        PuffinFile { bytes: MAGIC.to_vec(), blobs: Vec::new() }
    }

    /// Adds the deletion vector of a data file. Its snapshot and sequence number are those of the commit, which is written as -1.
    pub(super) fn add(&mut self, vector: &[u8], data_file: &str, cardinality: u64) -> Place {
        let place = Place { offset: self.bytes.len(), length: vector.len() };
        self.bytes.extend(vector);
        self.blobs.push(json!({
            "type": "deletion-vector-v1",
            "fields": [RESERVED_FIELD_ID_POS],
            "snapshot-id": -1,
            "sequence-number": -1,
            "offset": place.offset,
            "length": place.length,
            "properties": { "referenced-data-file": data_file, "cardinality": cardinality.to_string() },
        }));
        place
    }

    /// The content of the file.
    pub(super) fn finish(self) -> Bytes {
        let PuffinFile { mut bytes, blobs } = self;
        let created_by = concat!("wharf ", env!("CARGO_PKG_VERSION"));
        let payload = json!({ "blobs": blobs, "properties": { "created-by": created_by } }).to_string();
        bytes.extend(MAGIC);
        bytes.extend(payload.as_bytes());
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(FLAGS);
        bytes.extend(MAGIC);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use iceberg::io::FileIO;
    use iceberg::puffin::PuffinReader;

    use super::*;

    #[tokio::test]
    async fn another_reader_finds_the_blobs() {
        let mut file = PuffinFile::new();
        let places = [file.add(b"first", "file:///t/1.parquet", 3), file.add(b"second!", "file:///t/2.parquet", 4)];
        let io = FileIO::new_with_memory();
        io.new_output("memory:///dv.puffin").unwrap().write(file.finish()).await.unwrap();
        let reader = PuffinReader::new(io.new_input("memory:///dv.puffin").unwrap());
        let metadata = reader.file_metadata().await.unwrap().clone();
        assert_eq!(metadata.blobs().len(), 2);
        for ((blob, place), content) in metadata.blobs().iter().zip(places).zip([&b"first"[..], b"second!"]) {
            assert_eq!((blob.offset() as usize, blob.length() as usize), (place.offset, place.length));
            assert_eq!(blob.blob_type(), "deletion-vector-v1");
            assert_eq!(reader.blob(blob).await.unwrap().data(), content);
        }
        assert_eq!(metadata.blobs()[1].properties()["cardinality"], "4");
    }
}

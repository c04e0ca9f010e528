//! Which files a table has been loaded from, so that the same statement run again loads only what is new.
//!
//! A file is known by a digest of its URL, its size and its version (the store's entity tag, else the time of its last
//! change): a file that was written anew is another. The table remembers digests in the same commit that adds the rows, so either
//! both are there or neither; and it is loaded into a branch where its rows are in the history of that.

use sha2::{Digest, Sha256};
use wharf_lake::LakeTable;

use super::SourceFile;

/// The digest of a file: 128 bits, in hexadecimal digits.
pub(crate) fn digest(file: &SourceFile) -> String {
    let meta = &file.meta;
    let version = match &meta.e_tag {
        Some(tag) => tag.clone(),
        None => meta.last_modified.timestamp_micros().to_string(),
    };
    let text = format!("{}/{}\n{}\n{version}", file.origin, meta.location, meta.size);
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files that are not loaded in a state of the table, and how many are.
pub(crate) fn new_files(table: &LakeTable, files: Vec<SourceFile>) -> (Vec<SourceFile>, usize) {
    let known = table.loaded_digests();
    let before = files.len();
    let new: Vec<_> = files.into_iter().filter(|file| !known.contains(digest(file).as_str())).collect();
    let skipped = before - new.len();
    (new, skipped)
}

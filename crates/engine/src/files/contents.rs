//! The bytes of a file, uncompressed.

use bytes::{Bytes, BytesMut};
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use wharf_values::{SqlError, SqlState};

use super::options::Compression;
use super::progress::Progress;
use super::{FileOptions, SourceFile};

/// Bytes that are handed on at a time, at least.
const CHUNK_BYTES: usize = 256 << 10;

/// A file's bytes, in large pieces, counted as they are read.
///
/// # Errors
/// What the store says; `22P04` for what cannot be uncompressed.
pub(crate) async fn chunks(
    file: &SourceFile,
    options: &FileOptions,
    progress: &Progress,
) -> Result<BoxStream<'static, Result<Bytes, SqlError>>, SqlError> {
    let got = file.store.get(&file.meta.location).await.map_err(|error| file.error(&error))?;
    let (counted, source) = (progress.clone(), file.clone());
    let raw = got
        .into_stream()
        .inspect_ok(move |bytes| counted.read(bytes.len() as u64))
        .map_err(|error| DataFusionError::ObjectStore(Box::new(error)));
    let compression = options.compression(&file.name);
    let plain = match compression {
        Compression::None => raw.boxed(),
        compressed => {
            let codec = compressed.codec();
            codec.convert_stream(raw.boxed()).map_err(crate::error::from_datafusion)?
        }
    };
    let failed = move |error: DataFusionError| failure(&source, compression, &error);
    let gathered = futures::stream::unfold(Some((plain, BytesMut::new())), |state| async {
        let (mut plain, mut gathered) = state?;
        loop {
            match plain.next().await {
                Some(Ok(bytes)) => {
                    gathered.extend_from_slice(&bytes);
                    if gathered.len() >= CHUNK_BYTES {
                        return Some((Ok(gathered.split().freeze()), Some((plain, gathered))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None if gathered.is_empty() => return None,
                None => return Some((Ok(gathered.freeze()), None)),
            }
        }
    });
    Ok(gathered.map_err(failed).boxed())
}

fn failure(file: &SourceFile, compression: Compression, error: &DataFusionError) -> SqlError {
    let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = below {
        if let Some(error) = error.downcast_ref::<object_store::Error>() {
            return file.error(error);
        }
        below = error.source();
    }
    match compression {
        Compression::None => crate::error::from_shared(error),
        _ => SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, format!("could not uncompress file \"{}\"", file.name))
            .with_detail(crate::error::sentence(&error.strip_backtrace())),
    }
}

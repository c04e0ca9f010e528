//! COPY TO files: one, or a folder of them, which the values of columns may divide.
//!
//! What always holds: a file is visible whole or not at all; files of a folder get names of their own, so nothing is written
//! over there. Folders by value are those of Hive: `a=1/b=x/`, with the columns left out of the files.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::partition;
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream_partitioned;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, WriteMultipart};
use tokio::task::JoinSet;
use uuid::Uuid;
use wharf_catalog::SqlType;
use wharf_lake::ParquetFile;
use wharf_values::{SqlError, SqlState, TextFormat, text_out};

use super::options::{Compression, default_format};
use super::place::require_superuser;
use super::{FileOptions, Place};
use crate::bind::BindContext;
use crate::bind::names::display_name;
use crate::copy::{CopyEncoder, CopyFormat, CopyOptions, OptionItem};
use crate::error::{from_datafusion, from_join, from_lake};
use crate::optimize::physical_plan;
use crate::session::Session;

/// Parts of a file that are being stored while the next is encoded.
const PARTS_ON_THEIR_WAY: usize = 4;
/// The size of files of a folder, when nothing is said of it.
const FILE_BYTES: u64 = 256 << 20;
/// What stands for NULL in the name of a folder.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// COPY TO a file, or to a folder when the name ends in a slash; gives the number of rows. A file of that name is replaced,
/// once all of the new one is there.
///
/// # Errors
/// `42501` without the right, `58P02` for a folder that is not empty, and what the options, the query or the object store
/// raise.
pub(crate) async fn unload(
    session: &mut Session,
    plan: LogicalPlan,
    name: &str,
    options: &[OptionItem],
    context: &BindContext,
) -> Result<u64, SqlError> {
    require_superuser(session)?;
    let (file_options, items) = FileOptions::split(options)?;
    file_options.check_direction(true)?;
    let place = Place::resolve(&session.engine, name, &file_options)?;
    place.check_writable(&session.engine.warehouse.url())?;
    let is_folder = name.ends_with('/');
    let format = if is_folder { CopyFormat::Parquet } else { default_format(name, place.plain) };
    let options = CopyOptions::with_default(&items, true, format)?;
    if !is_folder && (!file_options.partition_by.is_empty() || file_options.file_size_bytes.is_some()) {
        let message = "COPY PARTITION_BY and FILE_SIZE are for folders";
        return Err(
            SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint("End the name of a folder in a slash.")
        );
    }
    let target = Target::new(place, options, file_options, &plan, context)?;
    let (limits, session) = (session.limits(), &*session);
    match is_folder {
        true => limits.within(target.folder(session, plan, context)).await,
        false => limits.within(target.one(session, plan, context)).await,
    }
}

/// Where rows go, and how.
#[derive(Clone)]
struct Target {
    place: Arc<Place>,
    options: Arc<CopyOptions>,
    file_options: FileOptions,
    format: TextFormat,
    codec: String,
    /// The columns that name folders, by their places, and those that stay in the files.
    folders: Vec<usize>,
    kept: Vec<usize>,
    /// The names and types of the columns of the files.
    schema: SchemaRef,
}

impl Target {
    fn new(
        place: Place,
        options: CopyOptions,
        file_options: FileOptions,
        plan: &LogicalPlan,
        context: &BindContext,
    ) -> Result<Target, SqlError> {
        let named = plan.schema().fields().iter().map(|field| {
            let name = display_name(field.name()).to_owned();
            Arc::new(Field::clone(field).with_name(name))
        });
        let named: Vec<Arc<Field>> = named.collect();
        let mut folders = Vec::new();
        for name in &file_options.partition_by {
            let found = named.iter().position(|field| field.name() == name);
            folders.push(found.ok_or_else(|| {
                let message = format!("PARTITION_BY column \"{name}\" not referenced by COPY");
                SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
            })?);
        }
        let kept: Vec<usize> = (0..named.len()).filter(|column| !folders.contains(column)).collect();
        if kept.is_empty() && !folders.is_empty() {
            let message = "PARTITION_BY leaves no column for the files";
            return Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        if options.format == CopyFormat::Parquet {
            let interval = kept.iter().find(|column| wharf_values::sql_type(&named[**column]) == SqlType::Interval);
            if let Some(column) = interval {
                let name = named[*column].name();
                let message = format!("column \"{name}\" of type interval cannot be written to Parquet");
                return Err(SqlError::unsupported(message).with_hint("Cast it to text."));
            }
        }
        let schema = Schema::new(kept.iter().map(|column| Arc::clone(&named[*column])).collect::<Vec<_>>());
        let codec = file_options.compression.clone();
        if options.format != CopyFormat::Parquet && matches!(codec.as_deref(), Some("snappy" | "lz4")) {
            let message = "COPY COMPRESSION snappy and lz4 are for Parquet";
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        Ok(Target {
            place: Arc::new(place),
            options: Arc::new(options),
            codec: codec.unwrap_or_else(|| "zstd".to_owned()),
            file_options,
            format: context.format.clone(),
            folders,
            kept,
            schema: Arc::new(schema),
        })
    }

    /// All rows into one file.
    async fn one(&self, session: &Session, plan: LogicalPlan, context: &BindContext) -> Result<u64, SqlError> {
        let path = self.place.one_path()?;
        let mut stream = session.start_rows(&plan, &context.session).await?;
        let mut file = self.begin(path).await?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(from_datafusion)?;
            rows += batch.num_rows() as u64;
            file.write(&batch).await?;
        }
        file.finish().await?;
        Ok(rows)
    }

    /// Rows into files of a folder.
    async fn folder(&self, session: &Session, plan: LogicalPlan, context: &BindContext) -> Result<u64, SqlError> {
        let folder = Path::parse(&self.place.path).map_err(|_| {
            SqlError::new(SqlState::INVALID_NAME, format!("\"{}\" is not the name of a folder", self.place.name))
        })?;
        if !self.file_options.append {
            let first = self.place.store.list(Some(&folder)).try_next().await;
            if first.map_err(|error| self.place.error("writing", &error))?.is_some() {
                let message = format!("directory \"{}\" is not empty", self.place.name);
                return Err(SqlError::new(SqlState::DUPLICATE_FILE, message)
                    .with_hint("APPEND true adds files to those that are there."));
            }
        }
        if self.folders.is_empty() {
            let physical = physical_plan(&plan, &context.session).await?;
            let streams = execute_stream_partitioned(physical, context.session.task_ctx()).map_err(from_datafusion)?;
            // Dropping the set ends the tasks.
            let mut tasks = JoinSet::new();
            for mut stream in streams {
                let (target, folder) = (self.clone(), folder.clone());
                tasks.spawn(async move {
                    let mut files = Files { target: &target, open: None, folder: folder.clone(), rows: 0 };
                    while let Some(batch) = stream.next().await {
                        files.write(&folder, &batch.map_err(from_datafusion)?).await?;
                    }
                    files.finish().await
                });
            }
            let mut rows = 0;
            while let Some(done) = tasks.join_next().await {
                rows += done.map_err(|error| from_join(&error))??;
            }
            return Ok(rows);
        }
        // In the order of the folders, one file is open at a time.
        let order: Vec<_> = self
            .folders
            .iter()
            .map(|column| {
                let (qualifier, field) = plan.schema().qualified_field(*column);
                Expr::from((qualifier, field)).sort(true, false)
            })
            .collect();
        let sorted = LogicalPlanBuilder::from(plan).sort(order).and_then(|builder| builder.build());
        let mut stream = session.start_rows(&sorted.map_err(from_datafusion)?, &context.session).await?;
        let mut files = Files { target: self, open: None, folder: folder.clone(), rows: 0 };
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(from_datafusion)?;
            let keys: Vec<_> = self.folders.iter().map(|column| Arc::clone(batch.column(*column))).collect();
            let ranges = partition(&keys).map_err(|error| SqlError::internal(error.to_string()))?.ranges();
            for range in ranges {
                let rows = batch.slice(range.start, range.end - range.start);
                let within = self.folder_of(&folder, &rows)?;
                files.write(&within, &rows).await?;
            }
        }
        files.finish().await
    }

    /// The folder of rows that are alike in the columns that name it.
    fn folder_of(&self, root: &Path, rows: &RecordBatch) -> Result<Path, SqlError> {
        let mut path = root.to_string();
        for column in &self.folders {
            let schema = rows.schema();
            let (field, array) = (schema.field(*column), rows.column(*column));
            let value = match array.is_null(0) {
                true => NULL_FOLDER.to_owned(),
                false => {
                    let text = text_out::value_to_text(field, array, 0, &self.format)?;
                    escaped(&text.unwrap_or_default())
                }
            };
            path = format!("{path}/{}={value}", escaped(display_name(field.name())));
        }
        Path::parse(path.trim_start_matches('/')).map_err(|error| SqlError::internal(error.to_string()))
    }

    async fn begin(&self, path: Path) -> Result<File, SqlError> {
        let name = format!("{}/{path}", self.place.origin);
        if self.options.format == CopyFormat::Parquet {
            let objects = Arc::clone(&self.place.store);
            let file = ParquetFile::create(&name, objects, path, &self.schema, &self.codec);
            return match file.map_err(|error| from_lake(&error))? {
                Some(file) => Ok(File::Parquet(Box::new(file), Arc::clone(&self.place))),
                None => Err(SqlError::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("COPY COMPRESSION \"{}\" is not one of Parquet", self.codec),
                )
                .with_hint(format!("There are {}.", ParquetFile::CODECS.join(", ")))),
            };
        }
        let fields = self.schema.fields().iter();
        let columns = fields.map(|field| (field.name().clone(), Arc::clone(field))).collect();
        let mut encoder = CopyEncoder::new(&self.options, columns, &self.format)?;
        let compression = self.file_options.compression(path.as_ref());
        let mut header = Vec::new();
        encoder.header(&mut header);
        let mut file = Encoded::begin(&self.place, path, compression, encoder).await?;
        file.send(header.into()).await?;
        Ok(File::Encoded(Box::new(file)))
    }

    /// What files of a folder end in.
    fn ending(&self) -> String {
        let format = match self.options.format {
            CopyFormat::Parquet => return "parquet".to_owned(),
            CopyFormat::Csv => "csv",
            CopyFormat::Json => "json",
            CopyFormat::Binary => "bin",
            CopyFormat::Text => "txt",
        };
        match self.file_options.compression("") {
            Compression::None => format.to_owned(),
            Compression::Gzip => format!("{format}.gz"),
            Compression::Zstd => format!("{format}.zst"),
            Compression::Bzip2 => format!("{format}.bz2"),
            Compression::Xz => format!("{format}.xz"),
        }
    }
}

/// Letters that a folder's name cannot have are written as `%` and two digits.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' | '\u{7f}' => {
                out.push_str(&format!("%{:02X}", letter as u32));
            }
            '.' if out.is_empty() => out.push_str("%2E"),
            letter if letter < ' ' => out.push_str(&format!("%{:02X}", letter as u32)),
            letter => out.push(letter),
        }
    }
    out
}

/// The files of one stream of rows, one open at a time.
struct Files<'a> {
    target: &'a Target,
    open: Option<File>,
    folder: Path,
    rows: u64,
}

impl Files<'_> {
    async fn write(&mut self, folder: &Path, rows: &RecordBatch) -> Result<(), SqlError> {
        let limit = self.target.file_options.file_size_bytes.unwrap_or(FILE_BYTES);
        let is_full = self.open.as_ref().is_some_and(|file| file.size_bytes() >= limit);
        if (is_full || self.folder != *folder)
            && let Some(file) = self.open.take()
        {
            file.finish().await?;
        }
        self.folder = folder.clone();
        if self.open.is_none() {
            let name = format!("part-{}.{}", Uuid::now_v7(), self.target.ending());
            self.open = Some(self.target.begin(folder.clone().join(name)).await?);
        }
        let kept = rows.project(&self.target.kept).map_err(|error| SqlError::internal(error.to_string()))?;
        self.rows += kept.num_rows() as u64;
        match &mut self.open {
            Some(file) => file.write(&kept).await,
            None => Ok(()),
        }
    }

    async fn finish(self) -> Result<u64, SqlError> {
        if let Some(file) = self.open {
            file.finish().await?;
        }
        Ok(self.rows)
    }
}

/// A file that is being written.
enum File {
    Parquet(Box<ParquetFile>, Arc<Place>),
    Encoded(Box<Encoded>),
}

impl File {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), SqlError> {
        match self {
            File::Parquet(file, place) => file.write(batch).await.map_err(|error| parquet_failed(place, error)),
            File::Encoded(file) => {
                let mut out = Vec::new();
                file.encoder.encode(batch, &mut out)?;
                file.send(out.into()).await
            }
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            File::Parquet(file, _) => file.size_bytes(),
            File::Encoded(file) => file.size_bytes,
        }
    }

    async fn finish(self) -> Result<(), SqlError> {
        match self {
            File::Parquet(file, place) => file.finish().await.map_err(|error| parquet_failed(&place, error)),
            File::Encoded(file) => file.finish().await,
        }
    }
}

fn parquet_failed(place: &Place, error: wharf_lake::LakeError) -> SqlError {
    match &error {
        wharf_lake::LakeError::Store { source, .. } => place.error("writing", source),
        wharf_lake::LakeError::NotFound { .. } => SqlError::new(
            SqlState::UNDEFINED_FILE,
            format!("could not open file \"{}\" for writing: No such file or directory", place.name),
        ),
        error => from_lake(error),
    }
}

/// A file of a format that is encoded here, perhaps compressed on its way.
struct Encoded {
    encoder: CopyEncoder,
    chunks: tokio::sync::mpsc::Sender<Bytes>,
    storing: JoinSet<Result<(), SqlError>>,
    size_bytes: u64,
}

impl Encoded {
    async fn begin(
        place: &Arc<Place>,
        path: Path,
        compression: Compression,
        encoder: CopyEncoder,
    ) -> Result<Encoded, SqlError> {
        let failed = |error: object_store::Error| place.error("writing", &error);
        let upload = place.store.put_multipart(&path).await.map_err(failed)?;
        let writer = WriteMultipart::new(upload);
        let (chunks, receiver) = tokio::sync::mpsc::channel(PARTS_ON_THEIR_WAY);
        let mut storing = JoinSet::new();
        storing.spawn(store(Arc::clone(place), writer, receiver, compression));
        Ok(Encoded { encoder, chunks, storing, size_bytes: 0 })
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), SqlError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.size_bytes += bytes.len() as u64;
        match self.chunks.send(bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(match self.storing.join_next().await {
                Some(Ok(Err(error))) => error,
                Some(Err(error)) => from_join(&error),
                _ => SqlError::internal("a file ended before its data"),
            }),
        }
    }

    async fn finish(mut self) -> Result<(), SqlError> {
        let mut out = Vec::new();
        self.encoder.trailer(&mut out);
        self.send(out.into()).await?;
        // An empty chunk says that all have come; a channel that just closes, that nobody wants the file any more.
        let _ = self.chunks.send(Bytes::new()).await;
        match self.storing.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(from_join(&error)),
            None => Err(SqlError::internal("the task that stores a file ended")),
        }
    }
}

/// Stores what comes, until an empty chunk ends it.
async fn store(
    place: Arc<Place>,
    mut writer: WriteMultipart,
    receiver: tokio::sync::mpsc::Receiver<Bytes>,
    compression: Compression,
) -> Result<(), SqlError> {
    let raw = futures::stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(end) if end.is_empty() => None,
            Some(bytes) => Some((Ok(bytes), Some(receiver))),
            None => Some((Err(DataFusionError::Execution("given up".to_owned())), None)),
        }
    });
    let raw: BoxStream<'static, Result<Bytes, DataFusionError>> = raw.boxed();
    let mut encoded = match compression {
        Compression::None => raw,
        compressed => compressed.codec().convert_to_compress_stream(raw).map_err(from_datafusion)?,
    };
    let failed = |error| place.error("writing", &error);
    while let Some(bytes) = encoded.next().await {
        let stored = match bytes {
            Ok(bytes) => match writer.wait_for_capacity(PARTS_ON_THEIR_WAY).await {
                Ok(()) => {
                    writer.put(bytes);
                    Ok(())
                }
                Err(error) => Err(failed(error)),
            },
            Err(error) => Err(from_datafusion(error)),
        };
        if let Err(error) = stored {
            if let Err(error) = writer.abort().await {
                tracing::warn!(file = %place.name, %error, "could not remove what a failed COPY wrote");
            }
            return Err(error);
        }
    }
    writer.finish().await.map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_as_hive_names_them() {
        assert_eq!(escaped("a b"), "a b");
        assert_eq!(escaped("2024-01-01 00:00:00"), "2024-01-01 00%3A00%3A00");
        assert_eq!(escaped("a/b=c%"), "a%2Fb%3Dc%25");
        assert_eq!(escaped(".."), "%2E.");
    }
}

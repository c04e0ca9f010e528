//! From a name in a statement to files: who may name it, which store it is in, what its wildcards mean.
//!
//! A name is a URL, a path in the warehouse's folder, or, as in PostgreSQL, an absolute path of the server's file system.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use wharf_lake::store_reason;
use wharf_values::{SqlError, SqlState};

use super::FileOptions;
use super::glob;
use crate::engine::Engine;
use crate::error::{from_lake, is_stopping, stopping};
use crate::session::Session;

/// Files that one statement may read.
const MAX_FILES: usize = 1_000_000;

/// What a name stands for: a store, and a path or pattern in it.
pub(crate) struct Place {
    /// As the statement has it.
    pub(crate) name: String,
    /// PostgreSQL's spelling: a path without a scheme.
    pub(crate) plain: bool,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What URLs of the store begin with, without a slash at the end: `s3://bucket`.
    pub(crate) origin: String,
    /// The path, with its wildcards.
    pub(crate) path: String,
}

/// A file to be read.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Its URL; in PostgreSQL's spelling the path.
    pub(crate) name: Arc<str>,
    pub(crate) plain: bool,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) meta: ObjectMeta,
    pub(crate) origin: String,
}

/// `42602`
fn invalid_name(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_NAME, format!("\"{name}\" is not the name of a file"))
}

/// Only superusers name files.
///
/// # Errors
/// `42501`, in PostgreSQL's words.
pub(crate) fn require_superuser(session: &Session) -> Result<(), SqlError> {
    if session.identity.superuser {
        return Ok(());
    }
    Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to COPY to or from a file")
        .with_detail("Only superusers may COPY to or from files.")
        .with_hint("Anyone can COPY to stdout or from stdin."))
}

impl Place {
    /// Finds out what a name means. Nothing is asked of the store.
    ///
    /// # Errors
    /// `42501` for a location that the configuration does not allow, `42602` for what is no name, `22023` for options that
    /// the store cannot be opened with.
    pub(crate) fn resolve(engine: &Engine, name: &str, options: &FileOptions) -> Result<Place, SqlError> {
        let warehouse = &engine.warehouse;
        let plain = !name.contains("://");
        let url = match name {
            url if !plain => url.to_owned(),
            path if path.starts_with('/') => format!("file://{path}"),
            path => format!("{}/{path}", warehouse.url()),
        };
        check_allowed(&url, &engine.options.allowed_locations, &warehouse.url())?;
        let path_start = url.find("://").map(|at| at + 3).and_then(|at| Some(at + url[at..].find('/')?));
        let path = url[path_start.ok_or_else(|| invalid_name(name))? + 1..].to_owned();
        if path.split('/').any(|part| part == ".." || part == ".") {
            return Err(invalid_name(name));
        }
        // The library's URL knows a question mark and brackets as something else.
        let bare = &url[..path_start.unwrap_or_default() + 1];
        let (origin, store) = open_store(engine, bare, options)?;
        let origin = if origin == "file:" { "file://".to_owned() } else { origin };
        Ok(Place { name: name.to_owned(), plain, store, origin, path })
    }

    /// The files that are meant, in the order of their names.
    ///
    /// # Errors
    /// `58P01` when there are none, `42501` and `58030` for what the store answers.
    pub(crate) async fn files(&self) -> Result<Vec<SourceFile>, SqlError> {
        let file = |meta: ObjectMeta| SourceFile {
            name: match self.plain && !glob::is_pattern(&self.path, self.plain) {
                true => self.name.as_str().into(),
                false => format!("{}/{}", self.origin, meta.location).into(),
            },
            plain: self.plain,
            store: Arc::clone(&self.store),
            meta,
            origin: self.origin.clone(),
        };
        if !glob::is_pattern(&self.path, self.plain) {
            let path = self.one_path()?;
            let meta = self.store.head(&path).await.map_err(|error| self.error("reading", &error))?;
            return Ok(vec![file(meta)]);
        }
        let regex = glob::matcher(&self.path)?;
        let folder = Path::parse(glob::folder(&self.path)).map_err(|_| invalid_name(&self.name))?;
        let mut listing = self.store.list(Some(&folder));
        let mut files = Vec::new();
        while let Some(meta) = listing.try_next().await.map_err(|error| self.error("reading", &error))? {
            let name = meta.location.as_ref();
            // Markers such as _SUCCESS, and folders that some tools make of empty files.
            let hidden = name[glob::folder(&self.path).len()..]
                .split('/')
                .any(|part| (part.starts_with('_') || part.starts_with('.')) && !self.path.contains(part));
            if !hidden && regex.is_match(name) {
                files.push(file(meta));
            }
            if files.len() > MAX_FILES {
                let message = format!("\"{}\" means more than {MAX_FILES} files", self.name);
                return Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
            }
        }
        if files.is_empty() {
            return Err(SqlError::new(SqlState::UNDEFINED_FILE, format!("no file matches \"{}\"", self.name)));
        }
        files.sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        Ok(files)
    }

    /// The path when it has to be that of one file.
    ///
    /// # Errors
    /// `42602`
    pub(crate) fn one_path(&self) -> Result<Path, SqlError> {
        Path::parse(&self.path).ok().filter(|path| !path.as_ref().is_empty()).ok_or_else(|| invalid_name(&self.name))
    }

    /// What the client is told when the store fails.
    pub(crate) fn error(&self, purpose: &str, error: &object_store::Error) -> SqlError {
        store_failed(&self.name, purpose, error)
    }

    /// What COPY TO may not write over: the files of tables.
    ///
    /// # Errors
    /// `42501`
    pub(crate) fn check_writable(&self, warehouse_url: &str) -> Result<(), SqlError> {
        let url = format!("{}/{}", self.origin, self.path);
        let inside = url.strip_prefix(warehouse_url).unwrap_or_default();
        if inside.split('/').any(|part| uuid::Uuid::try_parse(part).is_ok()) {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("could not open file \"{}\" for writing: it is in the folder of a table", self.name),
            ));
        }
        Ok(())
    }
}

/// The store of the URLs that begin so, and their origin.
fn open_store(engine: &Engine, bare: &str, options: &FileOptions) -> Result<(String, Arc<dyn ObjectStore>), SqlError> {
    let (own, own_store) = engine.warehouse.object_store();
    let is_local = own.as_str().starts_with("file:");
    // A local store's writes are durable only through the warehouse's own.
    if bare.trim_end_matches('/') == own.as_str().trim_end_matches('/') && is_local {
        return Ok((bare.trim_end_matches('/').to_owned(), own_store));
    }
    engine.warehouse.other_store(bare, &options.store).map_err(|error| from_lake(&error))
}

impl SourceFile {
    /// A file that another node has found.
    ///
    /// # Errors
    /// As [`Place::resolve`]: what this node's configuration allows is its own affair.
    pub(super) fn reopen(
        engine: &Engine,
        name: Arc<str>,
        plain: bool,
        origin: String,
        meta: ObjectMeta,
        options: &FileOptions,
    ) -> Result<SourceFile, SqlError> {
        let url = format!("{origin}/{}", meta.location);
        check_allowed(&url, &engine.options.allowed_locations, &engine.warehouse.url())?;
        let (_, store) = open_store(engine, &format!("{origin}/"), options)?;
        Ok(SourceFile { name, plain, store, meta, origin })
    }

    /// Whether every node that has the warehouse has the file: what is on a disk is on this node's, unless it is the warehouse's.
    pub(super) fn is_shared(&self, engine: &Engine) -> bool {
        let local = self.origin.starts_with("file:") || self.origin.starts_with("memory:");
        !local || engine.warehouse.contains(&format!("{}/{}", self.origin, self.meta.location))
    }

    /// What the client is told when the store fails.
    pub(crate) fn error(&self, error: &object_store::Error) -> SqlError {
        store_failed(&self.name, "reading", error)
    }
}

/// All files that some names mean, each once.
///
/// # Errors
/// As [`Place::resolve`] and [`Place::files`].
pub(crate) async fn all_files(
    engine: &Engine,
    names: &[String],
    options: &FileOptions,
) -> Result<Vec<SourceFile>, SqlError> {
    let mut files: Vec<SourceFile> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for name in names {
        let place = Place::resolve(engine, name, options)?;
        let found = place.files().await?;
        files.extend(found.into_iter().filter(|file| seen.insert((file.origin.clone(), file.meta.location.clone()))));
    }
    Ok(files)
}

fn check_allowed(url: &str, allowed: &str, warehouse: &str) -> Result<(), SqlError> {
    let within = |prefix: &str| {
        let prefix = prefix.trim();
        prefix == "*"
            || (!prefix.is_empty()
                && url
                    .strip_prefix(prefix)
                    .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/')))
    };
    if within(warehouse) || allowed.split(',').any(within) {
        return Ok(());
    }
    Err(SqlError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for location \"{url}\""))
        .with_detail("The configuration key files.allowed_locations does not name it."))
}

/// What the client is told when a store fails over a file.
pub(crate) fn store_failed(name: &str, purpose: &str, error: &object_store::Error) -> SqlError {
    use std::io::ErrorKind;
    if is_stopping(error) {
        return stopping();
    }
    // What the local file system says is somewhere below.
    let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let io = std::iter::from_fn(|| {
        let this = below?;
        below = this.source();
        Some(this)
    })
    .find_map(|error| error.downcast_ref::<std::io::Error>());
    let (code, reason) = match (error, io.map(std::io::Error::kind)) {
        (object_store::Error::NotFound { .. }, _) | (_, Some(ErrorKind::NotFound)) => {
            (SqlState::UNDEFINED_FILE, "No such file or directory".to_owned())
        }
        (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }, _)
        | (_, Some(ErrorKind::PermissionDenied)) => (SqlState::INSUFFICIENT_PRIVILEGE, "Permission denied".to_owned()),
        (_, Some(ErrorKind::StorageFull)) => (SqlState::DISK_FULL, "No space left on device".to_owned()),
        _ => (SqlState::IO_ERROR, io.map_or_else(|| store_reason(error), ToString::to_string)),
    };
    SqlError::new(code, format!("could not open file \"{name}\" for {purpose}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_locations_are_let_through() {
        let allowed = |url: &str, list: &str| check_allowed(url, list, "file:///srv/lake").is_ok();
        assert!(allowed("s3://b/a", "*") && allowed("file:///srv/lake/x", ""));
        assert!(!allowed("s3://b/a", "") && !allowed("file:///srv/lakes/x", ""));
        let list = "s3://raw, file:///srv/import/";
        assert!(allowed("s3://raw/a", list) && allowed("file:///srv/import/a", list));
        assert!(!allowed("s3://rawer/a", list) && !allowed("file:///srv/import", list));
    }
}

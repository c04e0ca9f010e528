//! What was asked of an object store: every request, what it was for, and what it brought.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Method, Request, header};
use serde::Serialize;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Reads a data file, or a part of it.
    GetData,
    /// Reads a manifest or a manifest list.
    GetManifest,
    /// Reads a table's metadata file.
    GetMetadata,
    /// Reads something else.
    GetOther,
    /// Asks for the properties of a file.
    Head,
    /// Lists files.
    List,
    /// Writes a whole file.
    Put,
    /// Writes a part of a file.
    PutPart,
    /// Begins, ends or gives up a file that is written in parts.
    Multipart,
    /// Removes files.
    Delete,
}

impl Kind {
    /// What it is called in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::GetData => "get data",
            Kind::GetManifest => "get manifest",
            Kind::GetMetadata => "get metadata",
            Kind::GetOther => "get other",
            Kind::Head => "head",
            Kind::List => "list",
            Kind::Put => "put",
            Kind::PutPart => "put part",
            Kind::Multipart => "multipart",
            Kind::Delete => "delete",
        }
    }

    fn of(method: &Method, path: &str, query: &str) -> Kind {
        let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        match method.as_str() {
            "GET" if has("list-type") || has("prefix") => Kind::List,
            "GET" => match path.rsplit('.').next() {
                Some("parquet" | "puffin") => Kind::GetData,
                Some("avro") => Kind::GetManifest,
                Some("json") => Kind::GetMetadata,
                _ => Kind::GetOther,
            },
            "HEAD" => Kind::Head,
            "PUT" if has("uploadId") => Kind::PutPart,
            "PUT" => Kind::Put,
            "POST" if has("delete") => Kind::Delete,
            "POST" => Kind::Multipart,
            "DELETE" if has("uploadId") => Kind::Multipart,
            "DELETE" => Kind::Delete,
            _ => Kind::GetOther,
        }
    }
}

/// A request that was answered.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Answered {
    /// When it came, in milliseconds since the store was there.
    pub(crate) at_ms: f64,
    /// How long it took, until the last byte.
    pub(crate) milliseconds: f64,
    pub(crate) kind: Kind,
    pub(crate) path: String,
    /// The range that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<String>,
    /// The bytes that came with it.
    pub(crate) bytes_up: u64,
    /// The bytes it was answered with.
    pub(crate) bytes_down: u64,
}

/// The requests of one kind, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// How many there were.
    pub(crate) requests: u64,
    /// The bytes they brought.
    pub(crate) bytes_down: u64,
    /// The bytes they took away.
    pub(crate) bytes_up: u64,
}

impl Totals {
    /// Sums by kind.
    pub(crate) fn by_kind(answered: &[Answered]) -> BTreeMap<Kind, Totals> {
        let mut sums: BTreeMap<Kind, Totals> = BTreeMap::new();
        for request in answered {
            let sum = sums.entry(request.kind).or_default();
            sum.requests += 1;
            sum.bytes_down += request.bytes_down;
            sum.bytes_up += request.bytes_up;
        }
        sums
    }
}

/// The requests since they were last taken.
#[derive(Debug)]
pub(crate) struct Requests {
    begun: Instant,
    answered: Mutex<Vec<Answered>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Requests {
    pub(super) fn new() -> Requests {
        Requests {
            begun: Instant::now(),
            answered: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        }
    }

    /// Notes a request that has come; it is answered when the value is dropped.
    pub(super) fn begin(self: &Arc<Self>, request: &Request<Incoming>) -> Arc<UnderWay> {
        let now = 1 + self.under_way.fetch_add(1, Ordering::Relaxed);
        self.most_under_way.fetch_max(now, Ordering::Relaxed);
        let path = request.uri().path();
        let range = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok());
        Arc::new(UnderWay {
            requests: Arc::clone(self),
            begun: Instant::now(),
            kind: Kind::of(request.method(), path, request.uri().query().unwrap_or_default()),
            path: path.to_owned(),
            range: range.map(str::to_owned),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
        })
    }

    /// The requests that were answered since this was last asked, and how many were under way at the same time at most.
    pub(crate) fn take(&self) -> (Vec<Answered>, usize) {
        let answered = std::mem::take(&mut *self.answered.lock().unwrap_or_else(PoisonError::into_inner));
        (answered, self.most_under_way.swap(self.under_way.load(Ordering::Relaxed), Ordering::Relaxed))
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct UnderWay {
    requests: Arc<Requests>,
    begun: Instant,
    kind: Kind,
    path: String,
    range: Option<String>,
    pub(super) bytes_up: AtomicU64,
    pub(super) bytes_down: AtomicU64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.requests.under_way.fetch_sub(1, Ordering::Relaxed);
        let answered = Answered {
            at_ms: (self.begun - self.requests.begun).as_secs_f64() * 1000.0,
            milliseconds: self.begun.elapsed().as_secs_f64() * 1000.0,
            kind: self.kind,
            path: std::mem::take(&mut self.path),
            range: self.range.take(),
            bytes_up: self.bytes_up.load(Ordering::Relaxed),
            bytes_down: self.bytes_down.load(Ordering::Relaxed),
        };
        self.requests.answered.lock().unwrap_or_else(PoisonError::into_inner).push(answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let kind = |method: Method, path: &str, query: &str| Kind::of(&method, path, query);
        assert_eq!(kind(Method::GET, "/lake/t/data/a.parquet", ""), Kind::GetData);
        assert_eq!(kind(Method::GET, "/lake/t/metadata/snap-1.avro", ""), Kind::GetManifest);
        assert_eq!(kind(Method::GET, "/lake/t/metadata/1.metadata.json", ""), Kind::GetMetadata);
        assert_eq!(kind(Method::GET, "/lake", "list-type=2&prefix=t"), Kind::List);
        assert_eq!(kind(Method::PUT, "/lake/a.parquet", "partNumber=1&uploadId=x"), Kind::PutPart);
        assert_eq!(kind(Method::PUT, "/lake/a.parquet", ""), Kind::Put);
        assert_eq!(kind(Method::POST, "/lake/a.parquet", "uploads"), Kind::Multipart);
        assert_eq!(kind(Method::POST, "/lake", "delete"), Kind::Delete);
        assert_eq!(kind(Method::DELETE, "/lake/a.parquet", ""), Kind::Delete);
    }
}

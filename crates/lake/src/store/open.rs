//! Opening an object store by its URL: which one it is, and how its requests are made and repeated.
//!
//! What always holds: an option is decided in this order, the later winning: the environment (`AWS_*`, `AZURE_*`,
//! `GOOGLE_*`), [`StoreOptions`], what was given for this one store. No secret is ever part of an error: those of opening a
//! store name its URL and what is missing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::memory::InMemory;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use super::vending::{Vending, VendingOptions};

/// The prefixes of environment variables from which cloud stores take their credentials and endpoints.
const ENVIRONMENT: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// How cloud stores are reached. The defaults are those of the clouds.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The address of a compatible server; empty: the cloud's own.
    pub endpoint: String,
    /// The region; empty: what the environment says, else the cloud's default.
    pub region: String,
    /// S3: the bucket is in the path of a request, not in the name of the host.
    pub path_style: bool,
    /// Requests are not signed.
    pub anonymous: bool,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long one request may take, with all of its answer.
    pub request_timeout: Duration,
    /// How often a request that failed is made again.
    pub max_retries: usize,
    /// How long after its beginning a request is not made again any more.
    pub retry_timeout: Duration,
    /// The pause before the first retry; each one after it is longer, by a random factor up to two.
    pub initial_backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// Options as the `object_store` crate names them, such as `aws_access_key_id`.
    pub other: HashMap<String, String>,
    /// How clients of the Iceberg catalog get credentials.
    pub vending: VendingOptions,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            endpoint: String::new(),
            region: String::new(),
            path_style: true,
            anonymous: false,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            max_retries: 10,
            retry_timeout: Duration::from_secs(180),
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(15),
            other: HashMap::new(),
            vending: VendingOptions::default(),
        }
    }
}

impl StoreOptions {
    fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig { init_backoff: self.initial_backoff, max_backoff: self.max_backoff, base: 2.0 },
            max_retries: self.max_retries,
            retry_timeout: self.retry_timeout,
        }
    }

    /// All options by the names of `object_store`, the later winning. `given` is what is said of this one store.
    fn resolved(&self, given: &HashMap<String, String>) -> Vec<(String, String)> {
        let environment =
            std::env::vars().filter(|(name, _)| ENVIRONMENT.iter().any(|prefix| name.starts_with(prefix)));
        let mut all: Vec<(String, String)> = environment.map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
        let mut set = |key: &str, value: String| all.push((key.to_owned(), value));
        set("timeout", format!("{} ms", self.request_timeout.as_millis()));
        set("connect_timeout", format!("{} ms", self.connect_timeout.as_millis()));
        if !self.endpoint.is_empty() {
            set("aws_endpoint", self.endpoint.clone());
            set("azure_endpoint", self.endpoint.clone());
            set("google_base_url", self.endpoint.clone());
        }
        if !self.region.is_empty() {
            set("aws_region", self.region.clone());
        }
        if !self.path_style {
            set("aws_virtual_hosted_style_request", "true".to_owned());
        }
        if self.anonymous {
            set("skip_signature", "true".to_owned());
        }
        all.extend(self.other.iter().chain(given).map(|(k, v)| (k.to_ascii_lowercase(), v.clone())));
        // Whoever names an address without TLS means it.
        let plain = |key: &str, value: &str| {
            value.starts_with("http://") && (key.contains("endpoint") || key.contains("base_url"))
        };
        if all.iter().any(|(key, value)| plain(key, value)) {
            all.push(("allow_http".to_owned(), "true".to_owned()));
        }
        all
    }
}

macro_rules! builder {
    ($builder:ty, $url:expr, $all:expr, $retry:expr) => {{
        let builder = <$builder>::new().with_url($url.to_string()).with_retry($retry);
        $all.into_iter().fold(builder, |builder, (key, value)| match key.parse() {
            Ok(key) => builder.with_config(key, value),
            // An option of another store.
            Err(_) => builder,
        })
    }};
}

macro_rules! configured {
    ($builder:ty, $url:expr, $all:expr, $retry:expr) => {{ builder!($builder, $url, $all, $retry).build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>) }};
}

/// Opens a store that is not the local file system. Nothing is asked of it yet.
///
/// # Errors
/// What is wrong with the URL or missing among the options, without any option's value.
pub(super) fn remote(
    scheme: &ObjectStoreScheme,
    url: &Url,
    options: &StoreOptions,
    given: &HashMap<String, String>,
) -> Result<Arc<dyn ObjectStore>, String> {
    let (all, retry) = (options.resolved(given), options.retry());
    let store = match scheme {
        ObjectStoreScheme::Memory => return Ok(Arc::new(InMemory::new())),
        ObjectStoreScheme::AmazonS3 => configured!(AmazonS3Builder, url, all, retry),
        ObjectStoreScheme::GoogleCloudStorage => configured!(GoogleCloudStorageBuilder, url, all, retry),
        ObjectStoreScheme::MicrosoftAzure => configured!(MicrosoftAzureBuilder, url, all, retry),
        _ => return Err(format!("\"{}\" is not the scheme of an object store", url.scheme())),
    };
    store.map_err(|error| without_values(&error.to_string(), options, given))
}

/// What gives credentials for tables of a store; none when that is not asked for.
///
/// # Errors
/// Why it is asked for and cannot be done.
pub(super) fn vending(
    scheme: &ObjectStoreScheme,
    url: &Url,
    options: &StoreOptions,
) -> Result<Option<Arc<Vending>>, String> {
    if options.vending.role.is_empty() {
        return Ok(None);
    }
    if !matches!(scheme, ObjectStoreScheme::AmazonS3) {
        return Err("store.sts_role gives credentials for S3 alone".to_owned());
    }
    let given = HashMap::new();
    let builder = builder!(AmazonS3Builder, url, options.resolved(&given), options.retry());
    let (region, endpoint) =
        (builder.get_config_value(&AmazonS3ConfigKey::Region), builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let store = builder.build().map_err(|error| without_values(&error.to_string(), options, &given))?;
    let bucket = url.host_str().ok_or("the URL names no bucket")?;
    Vending::new(&store, bucket, region, endpoint, options).map(|vending| Some(Arc::new(vending)))
}

/// A message in which no option's value is left, should a library repeat one.
fn without_values(message: &str, options: &StoreOptions, given: &HashMap<String, String>) -> String {
    let secret = |key: &str| {
        let key = key.to_ascii_lowercase();
        ["secret", "token", "key", "password", "credential"].iter().any(|word| key.contains(word))
    };
    let environment = std::env::vars().filter(|(name, _)| ENVIRONMENT.iter().any(|prefix| name.starts_with(prefix)));
    let own = options.other.iter().chain(given).map(|(key, value)| (key.clone(), value.clone()));
    environment
        .chain(own)
        .filter(|(key, value)| secret(key) && value.len() > 3)
        .fold(message.to_owned(), |message, (_, value)| message.replace(&value, "***"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_given_wins_and_plain_http_is_allowed_where_it_is_named() {
        let options = StoreOptions {
            endpoint: "http://127.0.0.1:9000".to_owned(),
            region: "eu-west-1".to_owned(),
            ..StoreOptions::default()
        };
        let given = HashMap::from([("AWS_REGION".to_owned(), "eu-west-2".to_owned())]);
        let all = options.resolved(&given);
        let last = |key: &str| all.iter().rfind(|(k, _)| k == key).map(|(_, value)| value.as_str());
        assert_eq!(last("aws_region"), Some("eu-west-2"));
        assert_eq!(last("allow_http"), Some("true"));
        assert_eq!(last("timeout"), Some("30000 ms"));
        let secure = StoreOptions { endpoint: "https://store".to_owned(), ..StoreOptions::default() };
        assert!(!secure.resolved(&HashMap::new()).iter().any(|(key, _)| key == "allow_http"));
    }

    #[test]
    fn secrets_are_cut_out_of_messages() {
        let given = HashMap::from([
            ("aws_secret_access_key".to_owned(), "s3cr3t".to_owned()),
            ("aws_region".to_owned(), "eu-west-2".to_owned()),
        ]);
        let message = without_values("bad s3cr3t in eu-west-2", &StoreOptions::default(), &given);
        assert_eq!(message, "bad *** in eu-west-2");
    }
}

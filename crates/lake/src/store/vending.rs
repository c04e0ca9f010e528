//! Credentials that reach the files of one table for a while, for clients that have none of their own.
//!
//! AWS's Security Token Service makes them, and the services of compatible stores that speak its protocol
//! (`AssumeRole`, <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>): a role is taken on, and a policy of the
//! session narrows what the role may do to the table's folders.
//!
//! What always holds: nothing that is given reaches beyond the folders that it was asked for, and it is good for at least half of the
//! lifetime when it is given. No secret is part of an error or of what is printed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, ReqwestConnector};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::open::StoreOptions;

/// What clouds allow.
pub const VENDING_LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(900)..=Duration::from_secs(43_200);

/// How the sessions are called in the cloud's own log.
const SESSION_NAME: &str = "wharf";
/// How many are kept, to be given again.
const REMEMBERED: usize = 1_000;
/// No answer of the service is longer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How credentials for tables are made.
#[derive(Clone, Debug)]
pub struct VendingOptions {
    /// The role that is taken on, as an ARN; empty: no credentials are given.
    pub role: String,
    /// The address of the service; empty: that of the store, if it is not the cloud's own, else the cloud's.
    pub endpoint: String,
    /// How long credentials are good for: within [`VENDING_LIFETIMES`].
    pub lifetime: Duration,
}

impl Default for VendingOptions {
    fn default() -> VendingOptions {
        VendingOptions { role: String::new(), endpoint: String::new(), lifetime: Duration::from_secs(3_600) }
    }
}

/// What a client needs to reach the files of a table.
#[derive(Clone)]
pub struct TableCredentials {
    /// The id of the key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// What says that the key is temporary.
    pub session_token: String,
    /// Until when they are good.
    pub expires_at: DateTime<Utc>,
    /// The region of the bucket.
    pub region: String,
    /// The address of the store, unless it is the cloud's own.
    pub endpoint: Option<String>,
    /// The bucket is in the path of a request.
    pub path_style: bool,
}

impl fmt::Debug for TableCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableCredentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Folders of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Folders {
    /// The table's own, to read and to write; paths without a slash at either end.
    pub(crate) own: String,
    /// Others that it may refer to, to read.
    pub(crate) borrowed: Vec<String>,
}

/// The service.
pub(crate) struct Vending {
    options: VendingOptions,
    service: Url,
    bucket: String,
    region: String,
    endpoint: Option<String>,
    path_style: bool,
    /// What the server itself has.
    own: AwsCredentialProvider,
    http: HttpClient,
    given: Mutex<HashMap<Folders, TableCredentials>>,
}

impl fmt::Debug for Vending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vending").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Vending {
    /// The service for the bucket of a store; `endpoint` and `region` are the store's as they were resolved.
    ///
    /// # Errors
    /// What is wrong with the addresses.
    pub(super) fn new(
        store: &AmazonS3,
        bucket: &str,
        region: Option<String>,
        endpoint: Option<String>,
        options: &StoreOptions,
    ) -> Result<Vending, String> {
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let vending = options.vending.clone();
        let service = match (vending.endpoint.as_str(), &endpoint) {
            ("", None) => format!("https://sts.{region}.amazonaws.com/"),
            ("", Some(endpoint)) => endpoint.clone(),
            (service, _) => service.to_owned(),
        };
        let service = Url::parse(&service).map_err(|error| format!("the address of the token service: {error}"))?;
        let client = ClientOptions::new()
            .with_timeout(options.request_timeout)
            .with_connect_timeout(options.connect_timeout)
            .with_allow_http(service.scheme() == "http");
        let http = ReqwestConnector::default().connect(&client).map_err(|error| error.to_string())?;
        Ok(Vending {
            options: vending,
            service,
            bucket: bucket.to_owned(),
            region,
            endpoint,
            path_style: options.path_style,
            own: Arc::clone(store.credentials()),
            http,
            given: Mutex::default(),
        })
    }

    /// Credentials for the files of a table.
    ///
    /// # Errors
    /// What the service says, or why it cannot be asked.
    pub(crate) async fn credentials(&self, folders: &Folders) -> Result<TableCredentials, String> {
        let now = Utc::now();
        let half = now + self.options.lifetime / 2;
        if let Some(known) = self.given().get(folders).filter(|known| known.expires_at > half) {
            return Ok(known.clone());
        }
        let made = self.assume_role(folders).await?;
        let mut given = self.given();
        if given.len() >= REMEMBERED {
            given.retain(|_, known| known.expires_at > half);
        }
        // Those that do not fit are made anew each time.
        if given.len() < REMEMBERED {
            given.insert(folders.clone(), made.clone());
        }
        Ok(made)
    }

    fn given(&self) -> std::sync::MutexGuard<'_, HashMap<Folders, TableCredentials>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn assume_role(&self, folders: &Folders) -> Result<TableCredentials, String> {
        let seconds = self.options.lifetime.as_secs().to_string();
        let policy = policy(&self.options.role, &self.bucket, folders).to_string();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRole")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.options.role)
            .append_pair("RoleSessionName", SESSION_NAME)
            .append_pair("DurationSeconds", &seconds)
            .append_pair("Policy", &policy)
            .finish();
        let own = self.own.get_credential().await.map_err(|error| error.to_string())?;
        let mut request = HttpRequest::new(body.into());
        let unusable = |what: &str| format!("the address of the token service is no {what}");
        *request.method_mut() = "POST".parse().map_err(|_| unusable("method"))?;
        *request.uri_mut() = self.service.as_str().parse().map_err(|_| unusable("URI"))?;
        let form = "application/x-www-form-urlencoded".parse().map_err(|_| unusable("header"))?;
        request.headers_mut().insert("content-type", form);
        AwsAuthorizer::new(&own, "sts", &self.region).authorize(&mut request, None);

        let response = self.http.execute(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let answer = response.into_body().bytes().await.map_err(|error| error.to_string())?;
        if answer.len() > MAX_ANSWER_BYTES {
            return Err(format!("its answer has {} bytes", answer.len()));
        }
        if !status.is_success() {
            let said: Option<ErrorResponse> = quick_xml::de::from_reader(&*answer).ok();
            return Err(match said {
                Some(ErrorResponse { error }) => format!("{}: {}", error.code, error.message),
                None => format!("it answers {status}"),
            });
        }
        let answer: AssumeRoleResponse =
            quick_xml::de::from_reader(&*answer).map_err(|error| format!("its answer cannot be read: {error}"))?;
        let made = answer.result.credentials;
        let expires_at = DateTime::parse_from_rfc3339(&made.expiration)
            .map_err(|_| format!("credentials that expire at \"{}\"", made.expiration))?;
        Ok(TableCredentials {
            access_key_id: made.access_key_id,
            secret_access_key: made.secret_access_key,
            session_token: made.session_token,
            expires_at: expires_at.to_utc(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
        })
    }
}

/// What the session may do, at most: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies.html>.
fn policy(role: &str, bucket: &str, folders: &Folders) -> Value {
    // Of `arn:aws-cn:iam::..`; services of others have partitions that S3's resources do not.
    let partition = role.split(':').nth(1).filter(|partition| partition.starts_with("aws")).unwrap_or("aws");
    let bucket = format!("arn:{partition}:s3:::{bucket}");
    let files = |folder: &String| format!("{bucket}/{}/*", literal(folder));
    let mut statements = vec![json!({
        "Effect": "Allow",
        "Action": [
            "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
        ],
        "Resource": files(&folders.own),
    })];
    if !folders.borrowed.is_empty() {
        let borrowed: Vec<String> = folders.borrowed.iter().map(files).collect();
        statements.push(json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": borrowed}));
    }
    let listed: Vec<String> =
        std::iter::once(&folders.own).chain(&folders.borrowed).map(|folder| format!("{}/*", literal(folder))).collect();
    statements.push(json!({
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": bucket,
        "Condition": {"StringLike": {"s3:prefix": listed}},
    }));
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// A path in which nothing stands for anything else.
fn literal(path: &str) -> String {
    let mut literal = String::with_capacity(path.len());
    for letter in path.chars() {
        match letter {
            '*' | '?' | '$' => literal.extend(['$', '{', letter, '}']),
            _ => literal.push(letter),
        }
    }
    literal
}

#[derive(Deserialize)]
struct AssumeRoleResponse {
    #[serde(rename = "AssumeRoleResult")]
    result: AssumeRoleResult,
}

#[derive(Deserialize)]
struct AssumeRoleResult {
    #[serde(rename = "Credentials")]
    credentials: Made,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
struct ErrorResponse {
    #[serde(rename = "Error")]
    error: Said,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    code: String,
    message: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folders(own: &str, borrowed: &[&str]) -> Folders {
        Folders { own: own.to_owned(), borrowed: borrowed.iter().map(|&folder| folder.to_owned()).collect() }
    }

    #[test]
    fn a_policy_reaches_the_folders_of_the_table_and_nothing_else() {
        let policy = policy("arn:aws-cn:iam::1:role/lake", "b", &folders("wh/db/1", &["wh/db/2"]));
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements[0]["Resource"], "arn:aws-cn:s3:::b/wh/db/1/*");
        assert_eq!(statements[1]["Resource"], json!(["arn:aws-cn:s3:::b/wh/db/2/*"]));
        assert_eq!(statements[1]["Action"], "s3:GetObject");
        assert_eq!(statements[2]["Condition"]["StringLike"]["s3:prefix"], json!(["wh/db/1/*", "wh/db/2/*"]));
    }

    #[test]
    fn a_folder_that_is_called_like_a_pattern_is_none() {
        let policy = policy("arn:minio:iam:::role/any", "b", &folders("wh/*/t?$1", &[]));
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:s3:::b/wh/${*}/t${?}${$}1/*");
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn answers_are_read() {
        let answer = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
            <Credentials><SessionToken>t</SessionToken><SecretAccessKey>s</SecretAccessKey>
            <Expiration>2030-01-02T03:04:05Z</Expiration><AccessKeyId>k</AccessKeyId></Credentials>
            <AssumedRoleUser><Arn>arn</Arn></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"#;
        let read: AssumeRoleResponse = quick_xml::de::from_reader(answer.as_bytes()).unwrap();
        let made = read.result.credentials;
        assert_eq!((made.access_key_id.as_str(), made.secret_access_key.as_str()), ("k", "s"));
        let refused = r#"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>
            <RequestId>1</RequestId></ErrorResponse>"#;
        let read: ErrorResponse = quick_xml::de::from_reader(refused.as_bytes()).unwrap();
        assert_eq!((read.error.code.as_str(), read.error.message.as_str()), ("AccessDenied", "no"));
    }
}

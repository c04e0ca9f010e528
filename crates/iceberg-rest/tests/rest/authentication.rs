//! Who is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use wharf_iceberg_rest::{Options, OtherNodes, Tokens};

use crate::support::{Answer, Catalog, PASSWORD};

async fn ask(catalog: &Catalog, form: &str, headers: &[(&str, &str)]) -> Answer {
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/x-www-form-urlencoded"));
    catalog.send(Method::POST, "/oauth/tokens", &headers, form.as_bytes().to_vec()).await
}

async fn config(catalog: &Catalog, token: &str) -> Answer {
    catalog.send(Method::GET, "/config", &[("authorization", &format!("Bearer {token}"))], Vec::new()).await
}

fn token(answer: Answer) -> String {
    answer.ok()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_buys_a_token() {
    let catalog = Catalog::with(Options::default()).await;
    let refused = catalog.get("/config").await;
    refused.refused(401, "NotAuthorizedException");
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    config(&catalog, "nonsense").await.refused(401, "NotAuthorizedException");

    let form = format!("grant_type=client_credentials&client_id=wharf&client_secret={PASSWORD}&scope=catalog");
    let answer = ask(&catalog, &form, &[]).await;
    assert_eq!(answer.body["token_type"], "bearer");
    assert_eq!(answer.body["expires_in"], 3600);
    let first = token(answer);
    assert_eq!(config(&catalog, &first).await.ok()["overrides"]["prefix"], "wharf");
    // HTTP's own way to send the two, and a token for a token.
    let basic = ask(&catalog, "grant_type=client_credentials", &[("authorization", "Basic d2hhcmY6cGVuY2ls")]).await;
    config(&catalog, &token(basic)).await.ok();
    let exchange = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=";
    config(&catalog, &token(ask(&catalog, &format!("{exchange}{first}"), &[]).await)).await.ok();

    // What a session does afterwards is done as that role; a new password ends the token.
    catalog.sql("ALTER ROLE wharf PASSWORD 'changed'").await.unwrap();
    config(&catalog, &first).await.refused(401, "NotAuthorizedException");
    assert_eq!(ask(&catalog, &format!("{exchange}{first}"), &[]).await.body["error"], "invalid_grant");
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_from_nothing() {
    let catalog = Catalog::with(Options::default()).await;
    catalog.sql("CREATE ROLE sleeper; CREATE ROLE blank LOGIN").await.unwrap();
    for (role, password) in [("wharf", "wrong"), ("nobody", PASSWORD), ("sleeper", ""), ("blank", ""), ("blank", "x")] {
        let form = format!("grant_type=client_credentials&client_id={role}&client_secret={password}");
        let answer = ask(&catalog, &form, &[]).await;
        assert_eq!((answer.status, &answer.body["error"]), (StatusCode::UNAUTHORIZED, &Value::from("invalid_client")));
    }
    let answer = ask(&catalog, "grant_type=password", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &Value::from("unsupported_grant_type")));
    let answer = ask(&catalog, "grant_type=client_credentials&client_id=wharf", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["error"]), (400, &Value::from("invalid_request")));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_expire() {
    let catalog = Catalog::with(Options { token_lifetime: Duration::from_secs(1), ..Options::default() }).await;
    let form = format!("grant_type=client_credentials&client_id=wharf&client_secret={PASSWORD}");
    let token = token(ask(&catalog, &form, &[]).await);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    config(&catalog, &token).await.refused(401, "NotAuthorizedException");
    catalog.close().await;
}

/// A node with a secret of its own, and how often it was asked.
struct Other {
    tokens: Tokens,
    asked: AtomicUsize,
}

#[async_trait]
impl OtherNodes for Other {
    async fn have_signed(&self, token: &str) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.tokens.has_signed(token)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_node_is_taken_and_a_forged_one_asks_nobody() {
    let secret = [1; 32];
    let mut catalog = Catalog::with(Options { token_secret: secret, ..Options::default() }).await;
    let form = format!("grant_type=client_credentials&client_id=wharf&client_secret={PASSWORD}");
    let first = token(ask(&catalog, &form, &[]).await);
    let other = Arc::new(Other { tokens: Tokens::new(secret), asked: AtomicUsize::new(0) });
    let asked = || other.asked.load(Ordering::Relaxed);
    catalog.at_another_node(Options { other_nodes: Some(other.clone()), ..Options::default() });

    for _ in 0..3 {
        config(&catalog, &first).await.ok();
    }
    assert_eq!(asked(), 1, "the answer is kept");
    let exchange = format!("grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={first}");
    let fresh = token(ask(&catalog, &exchange, &[]).await);
    config(&catalog, &fresh).await.ok();
    assert_eq!(asked(), 1, "the fresh one is this node's own");

    // What says nothing that only who has a token knows is refused without a question.
    let [header, body, signature]: [&str; 3] = first.split('.').collect::<Vec<_>>().try_into().unwrap();
    let body: Value = serde_json::from_slice(&BASE64.decode(body).unwrap()).unwrap();
    let with = |changes: Value| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        format!("{header}.{}.{signature}", BASE64.encode(body.to_string()))
    };
    catalog.sql("CREATE ROLE ann LOGIN").await.unwrap();
    let cheap = [
        "nonsense".to_owned(),
        format!("{header}.{}.{signature}", BASE64.encode("nonsense")),
        with(json!({"sub": "nobody"})),
        with(json!({"sub": "ann"})),
        with(json!({"pwd": "AAAAAAAAAAAAAAAA"})),
        with(json!({"exp": 1})),
    ];
    for forged in &cheap {
        config(&catalog, forged).await.refused(401, "NotAuthorizedException");
    }
    assert_eq!(asked(), 1);
    // Whoever has a token cannot prolong it, and asks for one forgery once.
    let exp = body["exp"].as_u64().unwrap() + 3_600;
    for _ in 0..3 {
        config(&catalog, &with(json!({"exp": exp}))).await.refused(401, "NotAuthorizedException");
    }
    assert_eq!(asked(), 2);

    // A new password ends what was vouched for, too.
    catalog.sql("ALTER ROLE wharf PASSWORD 'changed'").await.unwrap();
    config(&catalog, &first).await.refused(401, "NotAuthorizedException");
    config(&catalog, &fresh).await.refused(401, "NotAuthorizedException");
    assert_eq!(asked(), 2);
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_answers() {
    let options = Options { max_body_bytes: 1_000, ..Options::default() };
    let trust = wharf_iceberg_rest::Authentication::Trust { role: "wharf".to_owned() };
    let catalog = Catalog::with(Options { authentication: trust.clone(), ..options }).await;
    let large = serde_json::json!({"namespace": ["x".repeat(2_000)]});
    catalog.post("/wharf/namespaces", large).await.refused(413, "BadRequestException");
    catalog.close().await;
    let catalog = Catalog::with(Options { authentication: trust, max_requests: 0, ..Options::default() }).await;
    let refused = catalog.get("/config").await;
    refused.refused(503, "ServiceUnavailableException");
    assert_eq!(refused.headers["retry-after"], "1");
    catalog.close().await;
}

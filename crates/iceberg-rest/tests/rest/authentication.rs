//! Who is let in.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::Value;
use wharf_iceberg_rest::Options;

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

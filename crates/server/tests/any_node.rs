//! Whatever node of a cluster a load balancer brings a client to serves it: each test runs the binary.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::cluster::{Member, certificates, until};
use crate::start_up::{Server, folder};

/// Two nodes of a cluster.
struct Pair {
    servers: [Server; 2],
    _members: [Member; 2],
    _shared: TempDir,
}

impl Pair {
    /// With some keys of the configuration, as variables of the environment.
    fn start(variables: &[(&str, &str)]) -> Pair {
        let shared = folder();
        certificates(&shared, "ours");
        let warehouse = shared.path().join("warehouse");
        let members = [0, 1].map(|_| Member::new(&shared, "ours"));
        let contacts = format!("{},{}", members[0].peers, members[1].peers);
        let servers = members.each_ref().map(|member| member.start_with(&warehouse, &contacts, variables));
        Pair { servers, _members: members, _shared: shared }
    }
}

/// A load balancer: the first connection goes to one server, all others go to another.
async fn balancer(first: SocketAddr, others: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut next = first;
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = TcpStream::connect(std::mem::replace(&mut next, others)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    address
}

/// Sends a cancel request and waits for the answer, which is that the connection is closed.
async fn ask_to_cancel(server: &Server, process: i32, key: [u8; 4]) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let numbers: [i32; 3] = [16, 80_877_102, process];
    let mut request: Vec<u8> = numbers.into_iter().flat_map(i32::to_be_bytes).collect();
    request.extend(key);
    stream.write_all(&request).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_finds_its_session_on_another_node() {
    let pair = Pair::start(&[]);
    let [first, second] = &pair.servers;
    let balancer = balancer(first.address(), second.address()).await;
    let mut config = Config::new();
    config.host(balancer.ip().to_string()).port(balancer.port()).user("wharf").dbname("wharf");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);

    // A wrong secret is of no use, wherever the request comes.
    let process: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let wrong = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        for server in &pair.servers {
            ask_to_cancel(server, process, [0; 4]).await;
            ask_to_cancel(server, process, [255; 4]).await;
        }
    };
    let (row, ()) = tokio::join!(client.query_one("SELECT 1 WHERE pg_sleep(4) IS NOT NULL", &[]), wrong);
    assert_eq!(row.unwrap().get::<_, i32>(0), 1);

    let token = client.cancel_token();
    let running = tokio::spawn(async move {
        let error = client.query("SELECT pg_sleep(600)", &[]).await.unwrap_err();
        (client, error)
    });
    // One that comes before the statement does is for nothing.
    until("the statement has ended", async || {
        token.cancel_query(NoTls).await.unwrap();
        running.is_finished().then_some(())
    })
    .await;
    let (client, error) = running.await.unwrap();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error}");

    // It ends the statement and not the session, which the last request may still be on its way to.
    until("the session goes on", async || client.simple_query("SELECT 1").await.ok()).await;
}

/// Status and body of an answer of a node's Iceberg catalog.
fn ask(server: &Server, request: &str, headers: &str, body: &str) -> (u16, Value) {
    let url = server.announced("Iceberg catalog on ");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/iceberg").unwrap();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\ncontent-length: {length}");
    write!(stream, "{head}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// The token that a node gives for a form.
fn token(server: &Server, form: &str) -> String {
    let headers = "content-type: application/x-www-form-urlencoded";
    let (status, answer) = ask(server, "POST /iceberg/v1/oauth/tokens", headers, form);
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// The status of a request with a token.
fn status(server: &Server, token: &str) -> u16 {
    ask(server, "GET /iceberg/v1/config", &format!("authorization: Bearer {token}"), "").0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_node_is_good_on_the_others() {
    let variables = [
        ("WHARF_POSTGRES__AUTHENTICATION", "scram-sha-256"),
        ("WHARF_PASSWORD", "pencil"),
        ("WHARF_HTTP__TOKEN_LIFETIME_MS", "20000"),
    ];
    let pair = Pair::start(&variables);
    let [first, second] = &pair.servers;
    let bought = token(first, "grant_type=client_credentials&client_id=wharf&client_secret=pencil");
    assert_eq!((status(first, &bought), status(second, &bought)), (200, 200));

    // What says the same, and is signed by nobody.
    let (signed, signature) = bought.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(signature.len()));
    assert_eq!((status(first, &forged), status(second, &forged)), (401, 401));

    // A token for a token, at the other node.
    let exchange = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=";
    let fresh = token(second, &format!("{exchange}{bought}"));
    assert_eq!((status(first, &fresh), status(second, &fresh)), (200, 200));

    // They expire everywhere, and nobody remembers them.
    until("the tokens expire", async || {
        let taken = [(first, &bought), (second, &bought), (first, &fresh), (second, &fresh)];
        taken.iter().all(|(server, token)| status(server, token) == 401).then_some(())
    })
    .await;
}

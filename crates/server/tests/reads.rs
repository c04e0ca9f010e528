//! What sessions of a cluster read (`wharf.read_consistency`), and by which catalog clients are let in: each test runs the binary.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::cluster::{Member, certificates, number, until};
use crate::divided::Trio;
use crate::start_up::{Server, folder};

const ROWS: &str = "SELECT count(*) FROM t";
const WRITTEN: &str = "SELECT count(*) FROM w";
/// The password of the first superuser.
const PASSWORD: &str = "tell nobody";

/// Tables are to stay as statements have left them.
async fn trio() -> Trio {
    Trio::start_with(&[("WHARF_MAINTENANCE__ENABLED", "false")]).await
}

/// A client of a node that wants what the node has.
async fn local(server: &Server) -> Client {
    let client = server.connect("").await.unwrap();
    client.batch_execute("SET wharf.read_consistency = 'local'").await.unwrap();
    client
}

#[track_caller]
fn code(error: tokio_postgres::Error) -> String {
    error.code().unwrap_or_else(|| panic!("{error:?}")).code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_shows_what_it_has_to_those_who_ask_for_that() {
    let mut trio = trio().await;
    let client = trio.servers[2].connect("").await.unwrap();
    assert_eq!(number(&client, ROWS).await, Some(60_000));
    for node in [0, 1] {
        trio.servers[node].signal("-KILL");
        trio.servers[node].wait();
    }
    let refused = client.query_one(ROWS, &[]).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().hint().unwrap().contains("wharf.read_consistency"), "{refused:?}");
    assert_eq!(code(refused), "57P03");

    client.batch_execute("SET wharf.read_consistency = 'local'").await.unwrap();
    assert_eq!(number(&client, ROWS).await, Some(60_000));
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(number(&client, ROWS).await, Some(60_000));
    assert_eq!(number(&client, "SELECT max(a) FROM t").await, Some(60_000));
    client.batch_execute("COMMIT").await.unwrap();
    // Nobody takes a write, and one that was refused is nothing to wait for.
    assert_eq!(code(client.batch_execute("INSERT INTO t VALUES (0, 'x')").await.unwrap_err()), "57P03");
    assert_eq!(number(&client, ROWS).await, Some(60_000));

    // Clients are let in, after a moment in which the node asks the others.
    let begun = Instant::now();
    let later = local(&trio.servers[2]).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(number(&later, ROWS).await, Some(60_000));
    later.batch_execute("RESET wharf.read_consistency").await.unwrap();
    assert_eq!(code(later.query_one(ROWS, &[]).await.unwrap_err()), "57P03");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_reads_locally_sees_its_own_writes_and_never_goes_back() {
    let trio = trio().await;
    // Nodes that do not lead: what is written through them is applied elsewhere first.
    let (writer, reader) = (local(&trio.servers[1]).await, local(&trio.servers[2]).await);
    writer.batch_execute("CREATE TABLE w (n bigint)").await.unwrap();
    until("the table on the other node", async || number(&reader, WRITTEN).await).await;
    let mut seen = 0;
    for n in (1_i64..=60).step_by(3) {
        writer.execute("INSERT INTO w SELECT $1::bigint", &[&n]).await.unwrap();
        assert_eq!(number(&writer, WRITTEN).await, Some(n));
        writer.batch_execute("INSERT INTO w VALUES (0); SELECT 1").await.unwrap();
        assert_eq!(number(&writer, WRITTEN).await, Some(n + 1));
        writer.batch_execute("BEGIN; INSERT INTO w VALUES (0)").await.unwrap();
        assert_eq!(number(&writer, WRITTEN).await, Some(n + 2));
        writer.batch_execute("COMMIT").await.unwrap();
        assert_eq!(number(&writer, WRITTEN).await, Some(n + 2));
        let now = number(&reader, WRITTEN).await.unwrap();
        assert!(seen <= now && now <= n + 2, "{seen} rows, then {now} of {}", n + 2);
        seen = now;
    }
    until("all rows on the other node", async || (number(&reader, WRITTEN).await == Some(60)).then_some(())).await;
}

/// A node of a cluster that asks for passwords.
fn asking(member: &Member, warehouse: &Path, contacts: &str) -> Server {
    let mut command = member.wharf(&["serve", "--listen", "127.0.0.1:0", "--auth", "scram-sha-256"]);
    command.args(["--config", "wharf.toml", "--join", contacts]);
    command.env("WHARF_WAREHOUSE__URL", format!("file://{}", warehouse.display())).env("WHARF_PASSWORD", PASSWORD);
    Server::start(&mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_let_in_by_all_nodes_at_once_and_by_none_with_a_former_password() {
    let shared = folder();
    certificates(&shared, "ours");
    let warehouse = shared.path().join("warehouse");
    let members: Vec<Member> = (0..3).map(|_| Member::new(&shared, "ours")).collect();
    let contacts = members.iter().map(|member| member.peers.clone()).collect::<Vec<_>>().join(",");
    let servers: Vec<Server> = members.iter().map(|member| asking(member, &warehouse, &contacts)).collect();
    let mut admins = Vec::new();
    for server in &servers {
        admins.push(server.connect(PASSWORD).await.unwrap());
    }
    until("three voters", async || {
        (number(&admins[0], "SELECT count(*) FROM wharf.nodes WHERE role <> 'learner'").await == Some(3)).then_some(())
    })
    .await;

    for round in 0..20 {
        let (admin, role) = (&admins[round % 3], format!("guest{round}"));
        admin.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'first'")).await.unwrap();
        for server in &servers {
            server.connect_as(&role, "first").await.unwrap();
        }
        admin.batch_execute(&format!("ALTER ROLE {role} PASSWORD 'second'")).await.unwrap();
        for server in &servers {
            assert_eq!(code(server.connect_as(&role, "first").await.unwrap_err()), "28P01");
        }
        for server in &servers {
            server.connect_as(&role, "second").await.unwrap();
        }
        admin.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
        for server in &servers {
            assert_eq!(code(server.connect_as(&role, "second").await.unwrap_err()), "28P01");
        }
    }
}

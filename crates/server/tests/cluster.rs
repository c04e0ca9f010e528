//! The port between nodes and what an operator does with it: each test runs the binary.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::start_up::{Server, folder, refused, wharf};

/// Runs a command that has to end well, and gives what it printed.
#[track_caller]
fn run(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = wharf(folder).args(arguments).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// An authority and a certificate for 127.0.0.1, made as an operator makes them, and a configuration that names them.
pub(crate) fn certificates(folder: &TempDir, name: &str) -> String {
    let certs = format!("{name}-certs");
    run(folder.path(), &["cert", "ca", "--out", &certs]);
    let printed = run(folder.path(), &["cert", "node", "--ca", &certs, "--name", "node1", "--address", "127.0.0.1"]);
    assert_eq!(printed, format!("certificate {certs}/node1.pem\nprivate key {certs}/node1.key.pem\n"));
    let file = format!("{name}.toml");
    let text = format!(
        "[peers]\nenabled = true\nlisten = \"127.0.0.1:0\"\ntls_authority_file = \"{certs}/ca.pem\"\n\
         tls_certificate_file = \"{certs}/node1.pem\"\ntls_key_file = \"{certs}/node1.key.pem\"\n",
    );
    std::fs::write(folder.path().join(&file), text).unwrap();
    file
}

#[test]
fn a_node_answers_those_who_have_a_certificate_of_its_cluster() {
    let folder = folder();
    let (ours, theirs) = (certificates(&folder, "ours"), certificates(&folder, "theirs"));
    let mut command = wharf(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust", "--config", &ours]);
    let server = Server::start(&mut command);
    let address = server.announced("peers on ");

    let printed = run(folder.path(), &["cluster", "--config", &ours, "--at", &address, "status"]);
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["NODE", "ADDRESS", "ROLE"], "{printed}");
    assert_eq!(lines[1][..3], ["1", address.as_str(), "leader"], "{printed}");
    assert!(printed.contains("\nnode 1 leads in term "), "{printed}");

    let asked = |configuration: &str| {
        refused(wharf(folder.path()).args(["cluster", "--config", configuration, "--at", &address, "status"]))
    };
    let (what, remedy) = asked(&theirs);
    assert!(what.starts_with(&format!("node {address}: refused: ")), "{what}");
    assert!(remedy.contains("certificates of the same authority"), "{remedy}");
    std::fs::write(folder.path().join("plain.toml"), "").unwrap();
    let (what, remedy) = asked("plain.toml");
    assert!(what.starts_with(&format!("node {address}: cannot be reached: ")), "{what}");
    assert!(remedy.contains("name a configuration with certificates"), "{remedy}");
}

#[test]
fn a_node_that_is_not_there_is_named() {
    let folder = folder();
    let (what, remedy) = refused(wharf(folder.path()).args(["cluster", "--at", "127.0.0.1:1", "status"]));
    assert!(what.starts_with("node 127.0.0.1:1: cannot be reached: "), "{what}");
    assert!(remedy.starts_with("name a node that runs with --at"), "{remedy}");
}

#[test]
fn a_node_does_not_start_with_certificates_that_nobody_would_believe() {
    let folder = folder();
    let ours = certificates(&folder, "ours");
    certificates(&folder, "theirs");
    std::fs::copy(folder.path().join("theirs-certs/ca.pem"), folder.path().join("ours-certs/ca.pem")).unwrap();
    let (what, remedy) =
        refused(wharf(folder.path()).args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust", "--config", &ours]));
    assert!(what.contains("ours-certs/node1.pem is not valid under ours-certs/ca.pem"), "{what}");
    assert!(remedy.contains("wharf cert"), "{remedy}");
}

#[test]
fn a_certificate_is_not_overwritten() {
    let folder = folder();
    certificates(&folder, "ours");
    let again = ["cert", "node", "--ca", "ours-certs", "--name", "node1", "--address", "127.0.0.1"];
    let (what, remedy) = refused(wharf(folder.path()).args(again));
    assert_eq!(what, "ours-certs/node1.pem exists already");
    assert!(remedy.contains("--force"), "{remedy}");
    run(folder.path(), &[again.as_slice(), &["--if-missing"]].concat());
    run(folder.path(), &[again.as_slice(), &["--force"]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_is_a_cluster_of_one_that_only_superusers_change() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    let row = client.query_one("SELECT node_id, leader_id, term FROM wharf.raft", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 1));
    let row = client.query_one("SELECT node_id, role, is_self FROM wharf.nodes", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1), row.get::<_, bool>(2)), (1, "leader", true));

    client.batch_execute("CREATE ROLE guest LOGIN").await.unwrap();
    let guest = server.connect_as("guest", "").await.unwrap();
    let code = async |client: &tokio_postgres::Client, call: &str| {
        client.batch_execute(call).await.unwrap_err().code().unwrap().code().to_owned()
    };
    assert_eq!(code(&guest, "CALL wharf.remove_node(1)").await, "42501");
    assert_eq!(code(&guest, "CALL wharf.transfer_leader(1)").await, "42501");
    assert_eq!(code(&client, "CALL wharf.transfer_leader(NULL)").await, "22004");
    assert_eq!(code(&client, "CALL wharf.transfer_leader(-1)").await, "22023");
    assert_eq!(code(&client, "CALL wharf.transfer_leader()").await, "42883");
}

/// A node of a cluster on fixed ports of this machine.
pub(crate) struct Member {
    folder: TempDir,
    pub(crate) peers: String,
}

impl Member {
    pub(crate) fn new(certificates: &TempDir, authority: &str) -> Member {
        let folder = folder();
        // A node has to know its own address before it is open.
        let peers = free_address();
        for file in ["ca.pem", "node1.pem", "node1.key.pem"] {
            std::fs::copy(certificates.path().join(format!("{authority}-certs")).join(file), folder.path().join(file))
                .unwrap();
        }
        let text = format!(
            "[peers]\nenabled = true\nlisten = \"{peers}\"\ntls_authority_file = \"ca.pem\"\n\
             tls_certificate_file = \"node1.pem\"\ntls_key_file = \"node1.key.pem\"\n\
             [postgres]\nauthentication = \"trust\"\n",
        );
        std::fs::write(folder.path().join("wharf.toml"), text).unwrap();
        Member { folder, peers }
    }

    pub(crate) fn start(&self, warehouse: &Path, contacts: &str) -> Server {
        self.start_with(warehouse, contacts, &[])
    }

    /// With some keys of the configuration, as variables of the environment.
    pub(crate) fn start_with(&self, warehouse: &Path, contacts: &str, variables: &[(&str, &str)]) -> Server {
        Server::start(self.command(warehouse, contacts).envs(variables.iter().copied()))
    }

    /// The folder its commands run in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another command in its folder.
    pub(crate) fn wharf(&self, arguments: &[&str]) -> Command {
        let mut command = wharf(self.folder.path());
        command.args(arguments);
        command
    }

    fn command(&self, warehouse: &Path, contacts: &str) -> Command {
        let mut command = wharf(self.folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config", "wharf.toml", "--join", contacts]);
        command.env("WHARF_WAREHOUSE__URL", format!("file://{}", warehouse.display()));
        command
    }

    fn cluster(&self, arguments: &[&str]) -> Output {
        let common = ["cluster", "--config", "wharf.toml"];
        wharf(self.folder.path()).args(common).args(arguments).output().unwrap()
    }

    /// The rows of `wharf cluster status`: number, address, role.
    fn status(&self) -> Vec<[String; 3]> {
        let output = self.cluster(&["status"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // Between the headings and the line that says who leads.
        let rows = text.lines().skip(1).take(text.lines().count() - 2);
        rows.map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            std::array::from_fn(|_| words.next().unwrap())
        })
        .collect()
    }
}

/// An address of this machine where nobody listens, below the ports that are given to connections: so nobody else is given it
/// before it is taken, nor while the node is down.
fn free_address() -> String {
    loop {
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        let address = format!("127.0.0.1:{}", 10_000 + random % 20_000);
        if std::net::TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// Waits until something is so.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "it never became so: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

pub(crate) async fn number(client: &tokio_postgres::Client, sql: &str) -> Option<i64> {
    Some(client.query_one(sql, &[]).await.ok()?.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_are_one_database_and_outlive_their_leader() {
    let shared = folder();
    certificates(&shared, "ours");
    let warehouse = shared.path().join("warehouse");
    let members: Vec<Member> = (0..3).map(|_| Member::new(&shared, "ours")).collect();
    let contacts = members.iter().map(|member| member.peers.clone()).collect::<Vec<_>>().join(",");
    // In the wrong order, and at the same time: the first of the list begins, the others wait for it.
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let start = |member: &Member| member.start(&warehouse, &contacts);
        let starts: Vec<_> = members.iter().rev().map(|member| scope.spawn(move || start(member))).collect();
        let mut servers: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
        servers.reverse();
        servers
    });
    let mut servers: Vec<Option<Server>> = servers.into_iter().map(Some).collect();
    until("three members, two of them voters besides the leader", async || {
        let roles: Vec<_> = members[2].status().into_iter().map(|[_, _, role]| role).collect();
        (roles.iter().filter(|role| *role == "voter").count() == 2 && roles.contains(&"leader".to_owned()))
            .then_some(())
    })
    .await;

    // What is written through one node is read through another at once.
    let mut clients = Vec::new();
    for server in servers.iter().flatten() {
        clients.push(server.connect("").await.unwrap());
    }
    clients[1].batch_execute("CREATE TABLE t (a bigint); INSERT INTO t VALUES (1), (2)").await.unwrap();
    assert_eq!(number(&clients[2], "SELECT count(*) FROM t").await, Some(2));
    assert_eq!(number(&clients[0], "SELECT count(*) FROM wharf.nodes").await, Some(3));
    assert_eq!(number(&clients[0], "SELECT node_id FROM wharf.nodes WHERE is_self").await, Some(1));

    // The lead can be chosen.
    let by_address: std::collections::BTreeMap<_, _> =
        members[0].status().into_iter().map(|[node, address, _]| (address, node)).collect();
    let second = by_address[&members[1].peers].clone();
    let leader = async || number(&clients[0], "SELECT leader_id FROM wharf.raft").await;
    until("the second node leads", async || {
        // On a busy machine another node may stand for election at the same moment, and win.
        let transferred = members[2].cluster(&["transfer-leader", &second]);
        (transferred.status.success() && leader().await == second.parse().ok()).then_some(())
    })
    .await;

    // The leader dies; the others go on.
    servers[1] = None;
    until("a write without the dead leader", async || clients[0].batch_execute("INSERT INTO t VALUES (3)").await.ok())
        .await;
    until("the other node has it", async || {
        (number(&clients[2], "SELECT count(*) FROM t WHERE a = 3").await >= Some(1)).then_some(())
    })
    .await;

    // It comes back to the same cluster, and is taken out of it.
    servers[1] = Some(members[1].start(&warehouse, &contacts));
    let back = servers[1].as_ref().unwrap().connect("").await.unwrap();
    assert!(number(&back, "SELECT count(*) FROM t WHERE a = 3").await >= Some(1));
    drop(back);
    drop(servers[1].take());
    let removed = clients[0].batch_execute(&format!("CALL wharf.remove_node({second})")).await;
    removed.unwrap();
    assert_eq!(number(&clients[0], "SELECT count(*) FROM wharf.nodes").await, Some(2));
    // It is told so when it comes back.
    let (what, remedy) = refused(&mut members[1].command(&warehouse, &contacts));
    assert!(what.contains("not a member of the catalog's group any more"), "{what}");
    assert!(remedy.contains("empty data folder"), "{remedy}");
    let unknown = clients[0].batch_execute("CALL wharf.remove_node(99)").await.unwrap_err();
    assert!(unknown.code().is_some(), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_is_lost_gives_its_vote_to_a_node_that_follows_and_is_removed() {
    let shared = folder();
    certificates(&shared, "ours");
    let warehouse = shared.path().join("warehouse");
    let members: Vec<Member> = (0..4).map(|_| Member::new(&shared, "ours")).collect();
    let contacts = members.iter().map(|member| member.peers.clone()).collect::<Vec<_>>().join(",");
    let variables = [("WHARF_CATALOG__MAX_VOTERS", "3"), ("WHARF_CATALOG__REPLACE_VOTER_AFTER_MS", "2000")];
    let mut servers: Vec<Option<Server>> =
        members.iter().map(|member| Some(member.start_with(&warehouse, &contacts, &variables))).collect();
    let rows = until("three of four nodes vote", async || {
        let rows = members[0].status();
        let count = |wanted: &str| rows.iter().filter(|[_, _, role]| role == wanted).count();
        (["leader", "voter", "learner"].map(count) == [1, 2, 1]).then_some(rows)
    })
    .await;
    let first = |wanted: &str| rows.iter().find(|[_, _, role]| role == wanted).unwrap();
    let ([lost, lost_address, _], [_, follower_address, _]) = (first("voter"), first("learner"));
    let at = |address: &str| members.iter().position(|member| member.peers == address).unwrap();
    let follower = &members[at(follower_address)];

    servers[at(lost_address)] = None;
    until("the node that follows votes in its place", async || {
        let rows = follower.status();
        let role =
            |wanted: &str| rows.iter().find(|[_, address, _]| address == wanted).map(|[_, _, role]| role.as_str());
        (role(lost_address) == Some("learner") && role(follower_address) != Some("learner")).then_some(())
    })
    .await;

    let output = follower.cluster(&["remove", lost]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("removed node {lost}\n"));
    until("three nodes are left", async || (follower.status().len() == 3).then_some(())).await;
    let (what, _) = refused(&mut follower.wharf(&["cluster", "--config", "wharf.toml", "remove", lost]));
    assert_eq!(what, format!("node {lost} is not a member of the catalog's group"));
}

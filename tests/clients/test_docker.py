"""What `docker/` says: the manifests against Kubernetes' own schemas, and their nodes as processes of this machine.

The nodes have the settings of the files, with the addresses, folders and secrets of this machine in place of those of the containers.
"""

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.request

import kubernetes_validate
import psycopg
import pytest
import yaml

from test_object_store import binary, free_port, s3  # noqa: F401 (a fixture)

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(180)]

ROOT = pathlib.Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "docker" / "kubernetes").glob("*.yaml"))
# The oldest that is meant, and the newest whose schemas are known.
KUBERNETES = ["1.29", "1.37"]
PASSWORD = "a password"


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def of_image():
    """The environment that the image sets."""
    text = (ROOT / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    return dict(setting.split("=", 1) for setting in line.split())


def of_stateful_set():
    """The settings of the container, by pod, and the paths of its probes."""
    kinds = {document["kind"]: document for path in MANIFESTS for document in documents(path)}
    (container,) = kinds["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    secrets = {"password": PASSWORD, "access-key": "access", "secret-key": "very-secret"}
    nodes = {}
    for index in range(kinds["StatefulSet"]["spec"]["replicas"]):
        fields = {"metadata.name": f"wharf-{index}", "metadata.namespace": "default"}
        environment = {}
        for variable in container["env"]:
            source = variable.get("valueFrom", {})
            if "fieldRef" in source:
                value = fields[source["fieldRef"]["fieldPath"]]
            elif "secretKeyRef" in source:
                value = secrets[source["secretKeyRef"]["key"]]
            else:
                # Kubernetes knows what was set before.
                value = re.sub(r"\$\((\w+)\)", lambda name: environment[name[1]], variable["value"])
            environment[variable["name"]] = value
        nodes[fields["metadata.name"]] = environment
    probes = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    return nodes, probes


def of_compose_file():
    """The settings of the nodes, by name, and the commands that are run before them."""
    services = yaml.safe_load((ROOT / "docker" / "cluster.compose.yaml").read_text())["services"]
    nodes = {}
    for name, service in services.items():
        if name.startswith("node"):
            nodes[name] = service["environment"] | {"WHARF_PASSWORD": PASSWORD}
    commands = [service["command"] for service in services.values() if service["image"] == "wharf" and "command" in service]
    return nodes, commands


class Nodes:
    """Nodes with the settings of containers."""

    def __init__(self, environments, folder, store):
        self.peers = {name: free_port() for name in environments}
        self.sql = {name: free_port() for name in environments}
        self.http = {name: free_port() for name in environments}
        self.processes = {}
        for name, environment in environments.items():
            settings = {key: self.here(value, folder) for key, value in (of_image() | environment).items()}
            settings |= {
                "WHARF_SERVER__DATA_DIRECTORY": str(folder / name),
                "WHARF_POSTGRES__LISTEN": f"127.0.0.1:{self.sql[name]}",
                "WHARF_HTTP__LISTEN": f"127.0.0.1:{self.http[name]}",
                "WHARF_PEERS__LISTEN": f"127.0.0.1:{self.peers[name]}",
                "WHARF_STORE__ENDPOINT": store,
            }
            self.processes[name] = subprocess.Popen(
                [binary(), "serve", "--config", str(ROOT / "conf" / "wharf.toml")],
                env={"PATH": os.environ["PATH"]} | settings,
                stdout=(folder / f"{name}.out").open("w"),
                stderr=(folder / f"{name}.log").open("w"),
            )

    def here(self, value, folder):
        """A setting with the addresses and folders of this machine."""
        for name, port in self.peers.items():
            value = re.sub(rf"\b{name}(\.[\w.]+)?:5442\b", f"127.0.0.1:{port}", value)
        return re.sub(r"^/(certs|etc/wharf/peers)/", f"{folder}/certs/", value)

    def connect(self, name):
        port = self.sql[name]
        return psycopg.connect(f"host=127.0.0.1 port={port} user=wharf dbname=wharf", password=PASSWORD, autocommit=True)

    def answers(self, name, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http[name]}{path}", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def wait_until_ready(self, paths, folder):
        for name, process in self.processes.items():
            for path in sorted(paths):
                until = time.monotonic() + 90
                while not self.answers(name, path):
                    log = (folder / f"{name}.log").read_text() + (folder / f"{name}.out").read_text()
                    assert process.poll() is None, f"{name} has ended: {log}"
                    assert time.monotonic() < until, f"{name} does not answer {path}: {log}"
                    time.sleep(0.1)

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        return [process.wait(timeout=60) for process in self.processes.values()]


def bucket(store):
    urllib.request.urlopen(urllib.request.Request(f"{store}/wharf", method="PUT"), timeout=10).close()


def is_a_warehouse(environments, paths, folder, store):
    bucket(store)
    nodes = Nodes(environments, folder, store)
    try:
        nodes.wait_until_ready(paths, folder)
        first, *_, last = environments
        with nodes.connect(first) as connection:
            connection.execute("CREATE TABLE t (a integer)")
            connection.execute("INSERT INTO t SELECT * FROM generate_series(1, 1000)")
        with nodes.connect(last) as connection:
            assert connection.execute("SELECT count(*), sum(a) FROM t").fetchone() == (1000, 500500)
            assert connection.execute("SELECT count(*) FROM wharf.nodes").fetchone() == (len(environments),)
    finally:
        codes = nodes.stop()
    assert codes == [0] * len(environments)
    # As `WHARF_LOG__FORMAT` of the image wants it.
    for name in environments:
        messages = [json.loads(line)["fields"]["message"] for line in (folder / f"{name}.log").read_text().splitlines()]
        assert "ready" in messages


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_what_kubernetes_takes(path, version):
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_pods_of_the_stateful_set_are_a_warehouse(tmp_path, s3):  # noqa: F811
    environments, probes = of_stateful_set()
    # As the comments of the file have it.
    certificates = tmp_path / "certs"
    subprocess.run([binary(), "cert", "ca", "--out", certificates], check=True, capture_output=True)
    subprocess.run(
        [binary(), "cert", "node", "--ca", certificates, "--name", "node", "--address", "127.0.0.1"],
        check=True,
        capture_output=True,
        cwd=certificates,
    )
    is_a_warehouse(environments, probes, tmp_path, s3)


def test_the_nodes_of_the_compose_file_are_a_warehouse(tmp_path, s3):  # noqa: F811
    environments, commands = of_compose_file()
    for command in commands:
        arguments = [argument.replace("/certs", str(tmp_path / "certs")) for argument in command]
        if "--address" in arguments:
            arguments[arguments.index("--address") + 1] = "127.0.0.1"
        subprocess.run([binary(), *arguments], check=True, capture_output=True, cwd=tmp_path)
    is_a_warehouse(environments, {"/health/ready"}, tmp_path, s3)

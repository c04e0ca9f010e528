"""pgjdbc: runs Jdbc.java (one file, started from its source) and shows what it printed when a check failed."""

import os
import pathlib
import shutil
import subprocess

import pytest


@pytest.mark.timeout(180)
def test_pgjdbc(server, schema):
    # `run` installs both; without them the test fails rather than being forgotten.
    java = shutil.which("java")
    assert java is not None, "java is not installed (Debian: default-jdk-headless)"
    jar = os.environ.get("WHARF_TEST_JDBC_JAR", "/usr/share/java/postgresql.jar")
    assert pathlib.Path(jar).exists(), f"{jar} is missing (Debian: libpostgresql-jdbc-java)"
    source = pathlib.Path(__file__).with_name("Jdbc.java")
    command = [java, "-Duser.timezone=UTC", "-Dfile.encoding=UTF-8", "-cp", jar, source]
    result = subprocess.run(
        [*command, server.host, str(server.port), server.user, server.database, schema],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("ok ") == 15

"""How a PostgreSQL server is started for tests."""

import socket

import pytest

from tests.conformance.postgres_server import create_cluster, find_programs, postgres_server


def can_connect(url):
    port = int(url.rpartition(":")[2].partition("/")[0])
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_postgres_server_listens_inside_the_block_only():
    with postgres_server() as url:
        assert can_connect(url)

    assert not can_connect(url)


def test_find_programs_where_it_is_not_installed_skips(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(pytest.skip.Exception, match="PostgreSQL is not installed"):
        find_programs(debian=tmp_path)


def test_find_programs_takes_the_newest_of_debian(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for version in ("9.6", "15", "17"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        for program in ("initdb", "postgres"):
            (folder / program).touch()

    assert tmp_path / "17/bin" == find_programs(debian=tmp_path)


def test_create_cluster_that_fails_raises_with_the_output(tmp_path):
    with pytest.raises(RuntimeError, match=r"initdb ended with 3:\n--auth=trust"):
        create_cluster(["sh", "-c", 'echo "$0"; exit 3'], tmp_path)

"""A real PostgreSQL server, for sessions that keep their history in one."""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import free_ports, listening

USER = "postgres"
"""Who runs the server in the place of root, which PostgreSQL refuses to run as, and its user for clients."""

DEBIAN = Path("/usr/lib/postgresql")


@contextmanager
def postgres_server():
    """Run a PostgreSQL server in a folder of its own, on a free port of the loopback interface.

    Yields:
        Its URL, without a driver: `postgresql://...`.

    Skips the test where PostgreSQL is not installed, or root cannot become the user postgres.
    """
    programs = find_programs()
    as_user = unprivileged()
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if as_user:
            shutil.chown(folder, USER, USER)
        create_cluster([*as_user, programs / "initdb"], folder)
        (port,) = free_ports(1)
        launched = [*as_user, *command(programs, folder, port)]
        # SIGQUIT ends it and its children at once: nothing is to be kept.
        with listening(launched, ready="ready to accept connections", stop=signal.SIGQUIT, cwd="/"):
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"


def find_programs(debian=DEBIAN):
    """Return the folder of initdb and postgres: one on PATH, or the newest of Debian's."""
    on_path = [Path(program).parent for program in [shutil.which("initdb")] if program]
    folders = [*on_path, *sorted(debian.glob("*/bin"), key=version_of, reverse=True)]
    found = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    if not found:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    return found[0]


def version_of(folder):
    return int(folder.parent.name.partition(".")[0])


def unprivileged():
    """Return the words before a command that PostgreSQL, as it does not run as root, needs to run."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to become another user")
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


def create_cluster(initdb, folder):
    options = ["--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    finished = subprocess.run(
        [*initdb, *options, "--pgdata", f"{folder}/data"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=folder,
    )
    if finished.returncode != 0:
        raise RuntimeError(f"initdb ended with {finished.returncode}:\n{finished.stdout}")


def command(programs, folder, port):
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [programs / "postgres", "-D", f"{folder}/data", "-p", str(port), *options]

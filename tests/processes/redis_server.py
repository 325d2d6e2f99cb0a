"""A real Redis server, for locks that processes share."""

import shutil
import subprocess
import tempfile
from contextlib import contextmanager

import pytest

from tests.servers import free_ports


@contextmanager
def redis_server():
    """Run a Redis server that keeps nothing, on a free port of the loopback interface.

    Yields:
        Its URL.

    Skips the test where Redis is not installed: neither its server, nor the package redis.
    """
    pytest.importorskip("redis", reason="the package redis is not installed")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (on Debian: apt-get install redis-server)")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder, listening(launch(program, port, folder)):
        yield f"redis://127.0.0.1:{port}"


def launch(program, port, folder):
    return [
        *(program, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder),
        *("--save", "", "--appendonly", "no", "--logfile", "", "--daemonize", "no"),
    ]


@contextmanager
def listening(command):
    """Run the server inside the block, from when it says that it is ready; kill it then."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            log = []
            for line in process.stdout:
                log.append(line)
                if "Ready to accept connections" in line:
                    break
            else:
                raise RuntimeError(f"redis-server ended; its log:\n{''.join(log)}")
            yield
        finally:
            process.kill()

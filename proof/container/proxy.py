"""A real nginx with docker/nginx.conf, in front of containers."""

import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from proof.harness import ROOT
from proof.harness.nginx import IN_ITS_FOLDER, NGINX
from proof.harness.server import free_port
from proof.harness.target import until
from proof.harness.wire import Address, get

MAIN = (
    IN_ITS_FOLDER
    + """    include {folder}/lwbafa.conf;
}}
"""
)


class Proxy:
    """A running nginx."""

    def __init__(self, address: Address, folder: Path) -> None:
        self.address = address
        self._folder = folder

    def written_to_disk(self) -> int:
        """How often it says that it had to put an upload or an answer into a file."""
        return (self._folder / "error.log").read_text().count("is buffered to a temporary file")


def configuration(instances: Sequence[Address], port: int) -> str:
    """docker/nginx.conf with other addresses."""
    text = (ROOT / "docker" / "nginx.conf").read_text()
    servers = "\n".join(f"    server {host}:{at} max_fails=0;" for host, at in instances)
    text = re.sub(r"( +server \S+ max_fails=0;\n)+", f"{servers}\n", text)
    return text.replace("listen 80 ", f"listen 127.0.0.1:{port} ")


@asynccontextmanager
async def proxy(instances: Sequence[Address]) -> AsyncIterator[Proxy]:
    """nginx as an ordinary process in front of these. Raises RuntimeError without one."""
    if NGINX is None:
        raise RuntimeError("nginx is missing: apt install nginx-light")
    address = ("127.0.0.1", free_port())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # started by root, nginx works as somebody else
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        (folder / "lwbafa.conf").write_text(configuration(instances, address[1]))
        command = [NGINX, "-p", name, "-e", f"{name}/error.log", "-c", f"{name}/nginx.conf"]
        with subprocess.Popen(command) as process:
            try:
                if not await until(lambda: _answers(address), 30):
                    raise RuntimeError("nginx does not answer for the instances")
                yield Proxy(address, folder)
            finally:
                process.terminate()


async def _answers(address: Address) -> bool:
    try:
        return (await get(address, "/v1/models")).status == 200
    except OSError:
        return False

"""A local Hub server, its clients, and a release to push."""

import json

import pytest

from .client import CARD, Client, write
from .hub_server import Hub


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    """Clients by their environment variables; each is started once, and all use the same Hub."""
    home, started = tmp_path_factory.mktemp("homes"), {}
    with Hub() as server:
        def client(**env):
            key = json.dumps(env)
            if key not in started:
                started[key] = Client(home / str(len(started)), **{"url": server.url, **env})
            return started[key]
        client.server = server
        yield client
        for each in started.values():
            each.end()


@pytest.fixture
def hub(clients):
    clients.server.forget()
    yield clients.server
    assert not clients.server.errors


@pytest.fixture(params=["xet", "lfs"])
def client(request, clients):
    """Clients for both ways to upload large files: in chunks (Xet), or as a whole or in parts (LFS)."""
    return clients() if request.param == "xet" else clients(HF_HUB_DISABLE_XET="1")


@pytest.fixture
def by_lfs(clients):
    return clients(HF_HUB_DISABLE_XET="1")


@pytest.fixture
def release(tmp_path):
    return write(tmp_path / "export", **{"README.md": CARD})

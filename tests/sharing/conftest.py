"""A local Hub server, and the command with a token for it."""

import pytest
from helpers import SIG, started

from .hub.hub_server import TOKEN, Hub


@pytest.fixture(scope="module")
def server():
    with Hub() as server:
        yield server


@pytest.fixture
def hub(server):
    server.forget()
    yield server
    assert not server.errors


@pytest.fixture
def export(hub, tmp_path, dora_dir):
    """Run the command with a known token and a temporary home folder."""
    def run(*args, target=SIG, **env):
        environ = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "",
                   "HF_HUB_DISABLE_XET": "1", **env}
        result = started("audiocraft_export", "run", target, "--dora-dir", dora_dir, *args, cwd=tmp_path,
                         others=("matplotlib.figure", "matplotlib.backends.backend_agg"), **environ)
        said = result.stdout + result.stderr
        assert "Traceback" not in said and TOKEN not in said
        return result
    return run

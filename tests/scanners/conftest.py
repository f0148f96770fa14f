"""The releases to scan, made once."""

import pytest

from .releases import make_releases


@pytest.fixture(scope="session")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan") / "releases"
    make_releases(folder)
    return folder

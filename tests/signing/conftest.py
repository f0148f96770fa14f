"""A signed release, and its keys."""

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp

from .signers import write_keys


@pytest.fixture
def keys(tmp_path):
    """The paths of a private and a public key."""
    return write_keys(tmp_path / "keys")


@pytest.fixture
def export(make_xp, dora_dir, keys):
    """Export an XP with options, and return the report."""
    make_xp()

    def make(**options):
        return export_xp(SIG, dora_dir, ExportOptions(**{"sign": keys[0], **options}))
    return make


@pytest.fixture
def signed(export):
    """The folder of a signed release with attestations."""
    return export(attest=True).folder

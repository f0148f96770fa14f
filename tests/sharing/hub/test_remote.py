"""The hashes by which the Hub identifies files."""

from types import SimpleNamespace

from audiocraft_export.sharing.hub.remote import Digest

GIT = "ce013625030ba8dba906f756967f9e9ca394464a"  # output of git hash-object
SHA256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"


def test_a_file_is_known_by_the_hash_of_git_or_if_it_is_large_by_its_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"hello\n")
    digest = Digest.of_file(tmp_path / "x")
    assert (digest.git, digest.sha256) == (GIT, SHA256)
    assert digest.matches(SimpleNamespace(lfs=None, blob_id=GIT))
    assert digest.matches(SimpleNamespace(lfs=SimpleNamespace(sha256=SHA256), blob_id="0"))
    assert not digest.matches(SimpleNamespace(lfs=SimpleNamespace(sha256="0"), blob_id=GIT))
    assert not digest.matches(None)

"""Write files that are flushed to the disk, and hash them on the fly."""

from hashlib import sha256

import pytest

from audiocraft_export.storage.durable_file import open_durable


@pytest.mark.parametrize("chunks", [
    [], [b"x"], [b"a" * 10] * 9999, [b"b" * (1 << 20)] * 20, [b"s", b"l" * 99999, b"s"],
], ids=["none", "one", "small", "large", "mixed"])
def test_chunks_of_any_size_are_written_in_order_and_hashed(tmp_path, chunks):
    with open_durable(tmp_path / "file") as file:
        for chunk in chunks:
            file.write(chunk)
    data = b"".join(chunks)
    assert (tmp_path / "file").read_bytes() == data
    assert (file.nbytes, file.sha256) == (len(data), sha256(data).hexdigest())


def test_an_existing_file_is_never_opened(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError), open_durable(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"

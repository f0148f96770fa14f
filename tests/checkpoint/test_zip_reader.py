"""Reading the zip container of torch.save."""

from helpers import SIG

from audiocraft_export import export_xp
from audiocraft_export.checkpoint.zip_reader import TorchZipReader


def test_records_are_aligned_as_torch_aligns_them(make_xp, dora_dir):
    make_xp()
    released = TorchZipReader(export_xp(SIG, dora_dir).files[0])
    assert all(released._begin(info) % 64 == 0 for info in released._infos.values())

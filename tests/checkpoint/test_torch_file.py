"""Files of torch.save as a whole."""

import pytest
import torch

from audiocraft_export import ExportError
from audiocraft_export.checkpoint.torch_file import TorchFile


def test_a_file_is_its_content_and_where_it_comes_from(tmp_path):
    torch.save({"model": {"w": torch.ones(2)}}, tmp_path / "x.th")
    file = TorchFile.read(tmp_path / "x.th")
    assert {*file.state} == {"model"} and not file.unknown_globals and not file.is_training
    assert file.source.name == "x.th" and file.source.bytes == (tmp_path / "x.th").stat().st_size


def test_a_file_that_holds_no_dict_is_refused(tmp_path):
    torch.save([1], tmp_path / "x.th")
    with pytest.raises(ExportError, match="holds a list"):
        TorchFile.read(tmp_path / "x.th")

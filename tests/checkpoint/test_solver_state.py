"""The state of a living solver."""

import torch
from helpers import SIG, load, same
from omegaconf import OmegaConf


def test_one_storage_of_two_dtypes_in_a_living_solver_gives_both_as_they_are(tmp_path):
    from audiocraft_export.pipeline.export import export_state

    class Source:
        def __init__(self, state):
            self.state_dict = lambda: state

    weight, z = torch.arange(4.0), torch.tensor([1 + 2j])
    state = {"w": weight, "i": weight.view(torch.int32), "z": z, "r": torch.view_as_real(z)}
    sources = {"best_state": Source({"model": state}), "history": Source([])}
    report = export_state(sources, OmegaConf.create({"a": 1}), SIG, tmp_path)
    assert same(load(report.files[0])["best_state"], state)

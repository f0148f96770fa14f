"""The state of a living solver."""

import torch
from helpers import SIG, load, same
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.solver_state import SolverState
from audiocraft_export.checkpoint.torch_tensors import to_torch


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


def test_a_section_is_asked_for_when_it_is_read_and_its_tensors_are_described():
    asked = []

    class Source:
        def state_dict(self):
            asked.append("model")
            return {"w": torch.arange(3.0, requires_grad=True), "steps": (1, 2)}

    state = SolverState({"model": Source()})
    assert list(state) == ["model"] and len(state) == 1 and not asked
    section = state["model"]
    assert asked == ["model"] and section["steps"] == [1, 2] and to_torch(section["w"]).tolist() == [0, 1, 2]

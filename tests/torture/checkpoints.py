"""Write checkpoints of torch with a payload at different positions."""

import pickle
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from .payloads import Payload


@dataclass(frozen=True, eq=False)
class After:
    """A value before which a payload is executed and discarded."""

    payload: Payload
    value: object


@dataclass(frozen=True, eq=False)
class Around:
    """A value that is passed through the result of a payload."""

    function: bytes
    value: object


class Splicer(pickle._Pickler):
    """A pickler that can also write raw opcodes."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Payload):
            return self.write(obj.opcodes)
        if isinstance(obj, After):
            self.write(obj.payload.opcodes + pickle.POP)
            return self.save(obj.value)
        if isinstance(obj, Around):
            self.write(obj.function)
            self.save((obj.value,))
            return self.write(pickle.REDUCE)
        return super().save(obj, save_persistent_id)

    def save_pers(self, pid):
        self.save(pid, save_persistent_id=False)
        self.write(pickle.BINPERSID)


PICKLE = SimpleNamespace(__name__="pickle", Pickler=Splicer, dump=pickle.dump)


def checkpoint(path, state, protocol=2, **options):
    torch.save(state, path, pickle_module=PICKLE, pickle_protocol=protocol, **options)
    return path


def good_state(**sections):
    from helpers import solver_state  # imported here, because the child must not load pytest
    return solver_state(**{"xp.cfg": plain_cfg(), **sections})


def plain_cfg(**changes):
    return {"solver": "mine", "fsdp": {"use": False}, "optim": {"lr": 1e-4}, "user": "${oc.env:USER}", **changes}


def weights(change):
    from helpers import model_state
    return {"best_state": {"model": change(model_state(3))}}


def node_of_cfg(payload):
    from omegaconf import OmegaConf
    cfg = OmegaConf.create(plain_cfg())
    cfg.__dict__["_content"]["optim"].__dict__["_content"]["lr"] = payload
    return cfg


RELEASED = {  # positions that would be released if they were not refused
    "as the whole pickle": lambda payload: payload,
    "as one of the weights": lambda payload: weights(lambda model: {**model, "emb.0.weight": payload}),
    "among plain data in the weights": lambda payload: weights(lambda model: {**model, "more": [1, (payload,)]}),
    "as all weights": lambda payload: weights(lambda model: payload),
    "as best_state": lambda payload: {"best_state": payload},
    "as a name in the weights": lambda payload: weights(lambda model: {**model, payload: 1}),
    "as a value in xp.cfg": lambda payload: {"xp.cfg": plain_cfg(more=payload)},
    "as a node in xp.cfg": lambda payload: {"xp.cfg": node_of_cfg(payload)},
    "as xp.cfg": lambda payload: {"xp.cfg": payload},
    "as a key in xp.cfg": lambda payload: {"xp.cfg": {**plain_cfg(), payload: 1}},
    "as xp.sig": lambda payload: {"xp.sig": payload},
}
BESIDE = {
    "in history": lambda payload: {"history": [{"valid": {"ce": 2.0}}, payload]},
    "in optimizer": lambda payload: {"optimizer": {"state": {0: payload}}},
    "in an unknown key": lambda payload: {"unknown": [payload]},
    "as an unknown key": lambda payload: {payload: 1},
    "before all": lambda payload: After(payload, good_state()),
    "before a weight": lambda payload: weights(lambda model: {**model, "emb.0.weight": After(
        payload, model["emb.0.weight"])}),
    "before a value in xp.cfg": lambda payload: {"xp.cfg": plain_cfg(solver=After(payload, "mine"))},
}
AROUND = {
    "around a weight": lambda call: weights(lambda model: {**model, "emb.0.weight": call(model["emb.0.weight"])}),
    "around the weights": lambda call: weights(call),
    "around a value in xp.cfg": lambda call: {"xp.cfg": plain_cfg(solver=call("mine"))},
    "around xp.cfg": lambda call: {"xp.cfg": call(plain_cfg())},
    "around xp.sig": lambda call: {"xp.sig": call("0123abcd")},
}


def placed(place, value):
    sections = place(value)
    return {**good_state(), **sections} if isinstance(sections, dict) else sections

"""Select the weights of a release: `best`, `ema`, `last`; views, tied tensors and casts."""

import re

import pytest
import torch
from helpers import NEW_DTYPES, SIG, command, load, model_state, same, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_xp, load_release
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.errors import CheckpointError
from audiocraft_export.release.weights import select_weights
from audiocraft_export.verification.release import verify

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def released(make_xp, dora_dir, weights="best", **sections):
    make_xp(**sections)
    report = export_xp(SIG, dora_dir, ExportOptions(weights=weights))
    return load(report.files[0])["best_state"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("fsdp", [True, False])
def test_release_holds_the_best_state_bit_for_bit(make_xp, dora_dir, dtype, ema, fsdp):
    best, whole = model_state(3, dtype), model_state(4, dtype)
    sections = {"best_state": {"model": best}, "fsdp_best_state": {"model": whole} if fsdp else {},
                "xp.cfg": with_cfg(fsdp={"use": fsdp})}
    state = released(make_xp, dora_dir, **sections, **({} if ema else {"ema": None}))
    assert same(state, whole if fsdp else best)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool,
                                   torch.complex64, torch.complex128])
def test_release_holds_every_other_dtype_bit_for_bit(make_xp, dora_dir, dtype):
    best = {"w": torch.tensor([[1, 0], [1, 1]]).to(dtype), "scalar": torch.ones((), dtype=dtype),
            "empty": torch.zeros(0, 3, dtype=dtype)}
    assert same(released(make_xp, dora_dir, best_state={"model": best}), best)


def test_release_holds_dtypes_without_a_storage_class(make_xp, dora_dir):
    best = {name: torch.arange(64, dtype=torch.uint8).view(getattr(torch, name)) for name in NEW_DTYPES}
    best["float32"] = torch.ones(2)
    assert same(released(make_xp, dora_dir, best_state={"model": best}), best)


def test_fsdp_best_state_wins_when_it_is_not_empty(make_xp, dora_dir):
    assert same(released(make_xp, dora_dir, fsdp_best_state={"model": model_state(9)}), model_state(9))


@pytest.mark.parametrize("empty", [{}, {"model": {}}, ..., None])
def test_best_state_is_taken_where_fsdp_best_state_is_empty_or_absent(make_xp, dora_dir, empty):
    assert same(released(make_xp, dora_dir, fsdp_best_state=empty), model_state(3))


@pytest.mark.parametrize("empty", [{}, {"model": {}}, ..., None])
@pytest.mark.parametrize("weights", ["best", "last", "ema"])
def test_a_shard_is_never_released(make_xp, dora_dir, empty, weights):
    folder = make_xp(fsdp_best_state=empty, **{"xp.cfg": with_cfg(fsdp={"use": True})})
    with pytest.raises(ExportError, match="FSDP"):
        export_xp(SIG, dora_dir, ExportOptions(weights=weights))
    assert not (folder / "export").exists()


@pytest.mark.parametrize("off", ["no", "No", "false", "off", "disabled", "0", "", 0])
@pytest.mark.parametrize("nested", [True, False])
def test_a_string_such_as_no_turns_fsdp_off(make_xp, dora_dir, off, nested):
    cfg = with_cfg(fsdp={"use": off} if nested else off)
    assert same(released(make_xp, dora_dir, "last", **{"xp.cfg": cfg}), model_state(1))


def test_a_text_that_audiocraft_takes_for_yes_releases_no_shard(make_xp, dora_dir):
    make_xp(fsdp_best_state={"model": model_state(9)}, **{"xp.cfg": with_cfg(fsdp={"use": "no"})})
    with pytest.raises(ExportError, match="FSDP"):
        export_xp(SIG, dora_dir, ExportOptions(weights="last"))


def test_weights_last_is_the_latest_model(make_xp, dora_dir):
    assert same(released(make_xp, dora_dir, weights="last"), model_state(1))


def test_weights_ema_averages_the_floating_tensors_and_keeps_the_others(make_xp, dora_dir):
    expected = {**model_state(2), "steps": model_state(1)["steps"]}
    assert same(released(make_xp, dora_dir, weights="ema"), expected)


def test_weights_ema_gives_the_average_to_tied_weights_as_well(make_xp, dora_dir):
    weight = torch.randn(4, 4)
    average = torch.randn(4, 4)
    state = released(make_xp, dora_dir, weights="ema", model={"emb": weight, "head": weight},
                     ema={"state": {"model": {"emb": average}}, "count": 1})
    assert same(state, {"emb": average, "head": average})
    assert state["emb"].data_ptr() == state["head"].data_ptr()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_flat_ema_is_completed_from_the_model_like_a_nested_one(make_xp, dora_dir, prefix):
    average = {name: value for name, value in model_state(2).items() if value.is_floating_point()}
    ema = {f"{prefix}{name}": value for name, value in average.items()}
    state = released(make_xp, dora_dir, weights="ema", ema=ema)
    assert same(state, {**average, "steps": model_state(1)["steps"]})


def test_a_flat_ema_that_lacks_a_tensor_of_the_model_is_refused(make_xp, dora_dir):
    average = model_state(2)
    missing = next(name for name, value in average.items() if value.is_floating_point())
    make_xp(ema={name: value for name, value in average.items() if name != missing})
    with pytest.raises(CheckpointError, match=f"lacks '{missing}' of the model"):
        export_xp(SIG, dora_dir, weights="ema")


def nested(averages):
    """Sections of a solver of two networks, with these averages."""
    model = {"gen": {"w": torch.ones(2), "b": torch.ones(3), "n": torch.tensor(1)}, "disc": {"w": torch.zeros(2)}}
    return {"model": model, "ema": {"state": {"model": averages}, "count": 1}}


def test_a_nested_ema_is_completed_part_by_part(make_xp, dora_dir):
    averages = {"gen": {"w": torch.full((2,), 9.), "b": torch.full((3,), 9.)}, "disc": {"w": torch.full((2,), 9.)}}
    state = released(make_xp, dora_dir, weights="ema", **nested(averages))
    assert [*state] == ["gen", "disc"] and same(state["disc"], averages["disc"])
    assert same(state["gen"], {**averages["gen"], "n": torch.tensor(1)})


@pytest.mark.parametrize(("averages", "missing"), [
    ({"gen": {"w": torch.ones(2)}, "disc": {"w": torch.ones(2)}}, "gen.b"),
    ({"gen": {"w": torch.ones(2), "b": torch.ones(3)}}, "disc.w")], ids=["tensor", "part"])
def test_a_nested_ema_that_lacks_a_tensor_of_the_model_is_refused(make_xp, dora_dir, averages, missing):
    make_xp(**nested(averages))
    with pytest.raises(CheckpointError, match=f"lacks '{missing}' of the model"):
        export_xp(SIG, dora_dir, weights="ema")


def test_an_ema_needs_no_average_of_extra_state_and_may_be_the_model_itself(make_xp, dora_dir):
    weight, extra = torch.ones(2), {"scale": torch.ones(1), "n": 1}
    for average in (torch.zeros(2), weight):
        state = released(make_xp, dora_dir, weights="ema", model={"w": weight, "l._extra_state": extra},
                         ema={"state": {"model": {"w": average}}, "count": 1})
        assert same({"w": state["w"]}, {"w": average}) and state["l._extra_state"] == extra


def test_a_flat_ema_of_something_else_is_released_as_it_is(make_xp, dora_dir):
    assert same(released(make_xp, dora_dir, weights="ema", ema={"teacher": torch.ones(2)}), {"teacher": torch.ones(2)})


@pytest.mark.parametrize("ema", [None, ..., {"state": {}, "count": 0}])
def test_weights_ema_without_an_average_is_an_error(make_xp, dora_dir, ema):
    make_xp(ema=ema)
    with pytest.raises(ExportError, match="weights=best"):
        export_xp(SIG, dora_dir, ExportOptions(weights="ema"))


def test_a_best_state_without_the_part_model_is_released_unchanged(make_xp, dora_dir):
    assert same(released(make_xp, dora_dir, best_state=model_state(5)), model_state(5))


def test_a_nested_best_state_is_released_unchanged(make_xp, dora_dir):
    state = released(make_xp, dora_dir, best_state={"generator": model_state(1), "critic": model_state(2)})
    assert same(state["generator"], model_state(1)) and same(state["critic"], model_state(2))


PARTS = {"model": model_state(1), "head": model_state(2), "scale": torch.ones(1), "epoch": 3}
AUDIOCRAFT = {"solver": "compression", "compression_model": "encodec"}


@pytest.mark.parametrize("section", ["best_state", "fsdp_best_state"])
def test_all_parts_of_the_best_state_of_ones_own_solver_are_released(make_xp, dora_dir, section):
    make_xp(**{section: PARTS})
    report = export_xp(SIG, dora_dir, ExportOptions(version="1"))
    state = load(report.files[0])["best_state"]
    assert same(state["model"], PARTS["model"]) and same(state["head"], PARTS["head"])
    assert [*state] == [*PARTS] and state["scale"].equal(PARTS["scale"]) and state["epoch"] == 3
    assert report.manifest.weights == section and not report.manifest.warnings


@pytest.mark.parametrize("section", ["best_state", "fsdp_best_state"])
def test_a_release_for_audiocraft_has_only_the_model_and_names_omitted_parts(make_xp, dora_dir, section):
    make_xp(**{section: PARTS, "xp.cfg": with_cfg(**AUDIOCRAFT)})
    report = export_xp(SIG, dora_dir, ExportOptions(version="1"))
    assert same(load(report.files[0])["best_state"], model_state(1))
    note, = report.manifest.warnings
    assert note.startswith(f"weights-left-out: head, scale, epoch of {section} not released")
    assert "family=general" in note
    said = command("verify", report.folder, "--against", SIG, "--dora-dir", dora_dir, cwd=dora_dir)
    assert said.returncode == 0 and f"head, scale, epoch of {section}" in said.stderr, said
    everything = ExportOptions(family="general", folder=dora_dir / "all")
    assert [*load(export_xp(SIG, dora_dir, everything).files[0])["best_state"]] == [*PARTS]


def test_a_part_that_no_rank_has_gathered_is_named(make_xp, dora_dir):
    make_xp(best_state=PARTS, fsdp_best_state={"model": model_state(4)})
    report = export_xp(SIG, dora_dir, ExportOptions(version="1"))
    assert same(load(report.files[0])["best_state"], model_state(4)) and "head" in report.manifest.warnings[0]


def test_best_parts_that_hold_no_tensor_are_an_empty_best_state(make_xp, dora_dir):
    state = released(make_xp, dora_dir, fsdp_best_state={"model": {}, "head": {}}, best_state=PARTS)
    assert [*state] == [*PARTS]


@pytest.mark.parametrize(("gathered", "missing"), [({"head": model_state(4)}, "model"),
                                                   ({"model": model_state(4)}, "heads")])
def test_shards_of_every_kind_are_refused(make_xp, dora_dir, gathered, missing):
    make_xp(best_state={"model": model_state(1), "head": {}, "heads": [model_state(2)]}, fsdp_best_state=gathered)
    note, = export_xp(SIG, dora_dir, ExportOptions(version="1")).manifest.warnings
    assert note.startswith(f"weights-left-out: {missing}")
    assert "missing in fsdp_best_state" in note and "family" not in note


@pytest.mark.parametrize("weights", ["best", "best_state"])
@pytest.mark.parametrize("best", [{"lm": model_state(5)}, {"lm": model_state(5), "heads": [model_state(6)]},
                                  {"model": {"lm": model_state(5)}, "head": model_state(6)}])
def test_parts_that_no_loader_of_audiocraft_takes_are_refused(make_xp, dora_dir, best, weights):
    make_xp(best_state=best, **{"xp.cfg": with_cfg(**AUDIOCRAFT)})
    with pytest.raises(ExportError, match=r"parts \(lm.*family=general.*weights=best_state(.model)?.lm") as error:
        export_xp(SIG, dora_dir, ExportOptions(weights=weights))
    assert error.value.code == "unexpected-parts"
    assert export_xp(SIG, dora_dir, ExportOptions(weights=weights, family="general")).files


def test_a_section_of_several_parts_is_released_as_the_best_state_is(make_xp, dora_dir):
    state = released(make_xp, dora_dir, "mine", mine=PARTS, **{"xp.cfg": with_cfg(**AUDIOCRAFT)})
    assert same(state, PARTS["model"])
    assert [*released(make_xp, dora_dir, "mine", mine=PARTS)] == [*PARTS]


PREFIXES = ["_orig_mod.{}", "module.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "_fsdp_wrapped_module.{}"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("weights", ["best", "last", "ema"])
def test_prefixes_of_wrappers_are_taken_off_the_weights_of_audiocraft(make_xp, dora_dir, prefix, weights):
    def wrapped(state):
        return {prefix.format(name): value for name, value in state.items()}
    plain = released(make_xp, dora_dir, weights, **{"xp.cfg": with_cfg(**AUDIOCRAFT)})
    average = {name: value for name, value in model_state(2).items() if value.is_floating_point()}
    make_xp(model=wrapped(model_state(1)), best_state={"model": wrapped(model_state(3))},
            ema={"state": {"model": average}, "count": 1}, **{"xp.cfg": with_cfg(**AUDIOCRAFT)})
    report = export_xp(SIG, dora_dir, ExportOptions(weights=weights, version="1"))
    assert same(load(report.files[0])["best_state"], plain)
    assert any(f"from 3 names of {report.manifest.weights}" in note
               for note in report.manifest.warnings)


def test_prefixes_of_general_weights_are_kept_and_reported(make_xp, dora_dir):
    best = {"model": {f"_orig_mod.{name}": value for name, value in model_state().items()}}
    make_xp(best_state=best)
    report = export_xp(SIG, dora_dir, ExportOptions(version="1"))
    assert same(load(report.files[0])["best_state"], best["model"])
    note, = report.manifest.warnings
    assert "3 names of best_state have the prefix _orig_mod. (torch.compile)" in note


@pytest.mark.parametrize("cfg", [{}, AUDIOCRAFT])
@pytest.mark.parametrize("of", ["model", "ema"])
def test_the_average_of_a_bare_model_is_that_of_the_wrapped_one(make_xp, dora_dir, cfg, of):
    plain = released(make_xp, dora_dir, "ema")
    state = solver_state()
    named = state["model"] if of == "model" else state["ema"]["state"]["model"]
    for name in [*named]:
        named[f"module._orig_mod.{name}"] = named.pop(name)
    found = released(make_xp, dora_dir, "ema", model=state["model"], ema=state["ema"], **{"xp.cfg": with_cfg(**cfg)})
    assert same(dict(zip(plain, found.values())), plain) and ([*found] == [*plain]) == (of == "ema" or bool(cfg))


def test_a_module_of_audiocraft_that_is_called_module_keeps_its_name(make_xp, dora_dir):
    own = {"module.weight": torch.ones(2), "steps": torch.tensor(1)}
    ema = {"state": {"model": {"module.weight": torch.zeros(2)}}}
    make_xp(best_state={"model": own}, model=own, ema=ema, **{"xp.cfg": with_cfg(**AUDIOCRAFT)})
    for weights in ("best", "last", "ema"):
        report = export_xp(SIG, dora_dir, ExportOptions(weights=weights, version="1"))
        assert [*load(report.files[0])["best_state"]] == [*own] and "1 names" in report.manifest.warnings[0]


NO_SECTIONS = dict.fromkeys(("model", "best_state", "fsdp_best_state", "ema", "optimizer"), ...)


@pytest.mark.parametrize(("weights", "sections"), [
    ("state_dict", {"state_dict": model_state(5)}), ("state", {"state": model_state(5)}),
    ("ema_model", {"ema_model": model_state(5)}), ("ema", {"ema": model_state(5)}), ("best", {"best": model_state(5)}),
    ("last", {"last": model_state(5)}), ("nets.gen", {"nets": {"gen": model_state(5), "disc": model_state(6)}}),
    ("a.b", {"a.b": model_state(5)}), ("a.b", {"a": {"b": model_state(6)}, "a.b": model_state(5)}),
    ("a.b.c", {"a": {"b.c": model_state(5)}}),
    ("best_state.model", {"best_state": {"model": model_state(5), "head": model_state(6)}})])
def test_any_section_with_tensors_can_be_named(make_xp, dora_dir, weights, sections):
    make_xp(**{**NO_SECTIONS, **sections})
    report = export_xp(SIG, dora_dir, ExportOptions(weights=weights))
    assert same(load(report.files[0])["best_state"], model_state(5)) and report.manifest.weights == weights
    assert not export_xp(SIG, dora_dir, ExportOptions(weights=weights)).written and verify(report.folder).ok


@pytest.mark.parametrize("sections", [
    {"state_dict": model_state(5)}, {"ema": model_state(5)}, {"best": model_state(5)}, {"last": model_state(5)},
    {"nets": {"gen": model_state(5)}, "other": model_state(5)}, {"model": model_state(5)},
    {"best_state": {"model": {}}}, {"ema": {"state": {"model": {}}}},
    {"model": {}, "ema": {"state": {"model": {"w": torch.ones(1)}}}},
    {"model": {"w": object}, "fine": model_state(5)}, {"best_state": {"model": model_state(5), "class": object}},
    {"trainer": {"nets": {"gen": model_state(5)}, "class": object}}, {"best_state": {"lm": model_state(5)}},
    {"model": model_state(5), "optimizer": solver_state()["optimizer"], "xp.cfg": with_cfg(fsdp=True)},
    {"fsdp_best_state": {"model": {}, "head": {}}, "best_state": {"model": model_state(5), "head": model_state(6)}}])
@pytest.mark.parametrize("weights", ["best", "ema", "last", "nothing", "nets.nothing"])
@pytest.mark.parametrize("cfg", [{}, {"solver": "compression", "compression_model": "encodec"}])
def test_offered_weights_can_be_exported(make_xp, dora_dir, sections, weights, cfg):
    cfg = OmegaConf.merge(sections.get("xp.cfg", with_cfg()), cfg)
    make_xp(**{**NO_SECTIONS, **sections, "xp.cfg": cfg})
    try:
        export_xp(SIG, dora_dir, ExportOptions(weights=weights))
    except ExportError as error:
        offered = re.findall(r"(?<=use |.or )weights=([\w.]*\w)", error.hint)
        has_none = "no other section has weights" in error.message or error.hint.startswith("export the checkpoint of")
        assert not {weights, "optimizer"} & {*offered} and (offered or has_none), error
        for other in offered:
            assert export_xp(SIG, dora_dir, ExportOptions(weights=other)).files


@pytest.mark.parametrize(("best", "says"), [(..., "no best_state"), ({}, "empty"), ({"model": {}}, "no tensor"),
                                            (None, "empty"), ([], "empty"), ({"model": {}, "head": {}}, "no tensor")])
def test_a_checkpoint_without_a_best_state_offers_the_last_weights(make_xp, dora_dir, best, says):
    folder = make_xp(best_state=best)
    with pytest.raises(ExportError, match=f"{says}.*weights=last"):
        export_xp(SIG, dora_dir)
    assert not (folder / "export").exists()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("stored", DTYPES)
def test_dtype_casts_floating_tensors_and_no_others(make_xp, dora_dir, dtype, stored):
    best = {**model_state(3, stored), "flag": torch.tensor([True]), "z": torch.tensor([1 + 2j])}
    make_xp(best_state={"model": best})
    state = load(export_xp(SIG, dora_dir, ExportOptions(dtype=dtype)).files[0])["best_state"]
    assert same(state, {name: value.to(getattr(torch, dtype)) if value.is_floating_point() else value
                        for name, value in best.items()})


def test_a_cast_that_would_overflow_is_refused(make_xp, dora_dir):
    make_xp(best_state={"model": {"w": torch.tensor([1e30])}})
    with pytest.raises(ExportError, match="beyond the range of float16.*bfloat16"):
        export_xp(SIG, dora_dir, ExportOptions(dtype="float16"))


def test_infinite_weights_survive_a_cast(make_xp, dora_dir):
    make_xp(best_state={"model": {"w": torch.tensor([float("inf"), float("nan"), 1.0])}})
    state = load(export_xp(SIG, dora_dir, ExportOptions(dtype="float16")).files[0])["best_state"]
    assert state["w"].isnan().tolist() == [False, True, False] and state["w"][0] == float("inf")


def test_parameters_with_gradients_are_released_as_plain_tensors(make_xp, dora_dir):
    state = released(make_xp, dora_dir, best_state={"model": {"w": torch.nn.Parameter(torch.ones(3))}})
    assert type(state["w"]) is torch.Tensor and not state["w"].requires_grad


def test_the_selection_has_the_section_and_the_reason(make_xp):
    checkpoint = open_checkpoint(make_xp() / "checkpoint.th")
    assert {which: (select_weights(checkpoint, which).section, select_weights(checkpoint, which).reason)
            for which in ("best", "last", "ema")} == {
        "best": ("best_state", "best state of the solver"), "last": ("model", "latest weights, as requested"),
        "ema": ("ema", "latest EMA, as requested")}


@pytest.mark.parametrize("state", [{"a.b": torch.ones(2), "a": {"b": torch.zeros(3)}},
                                   {5: torch.ones(3), "5": torch.zeros(3)}], ids=["part", "number"])
def test_two_tensors_with_the_same_name_are_refused(make_xp, dora_dir, state):
    folder = make_xp(best_state={"model": state})
    with pytest.raises(CheckpointError, match="has two tensors with the name"):
        export_xp(SIG, dora_dir)
    assert not (folder / "export").exists()


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_an_empty_tensor_may_lie_beyond_its_storage(make_xp, dora_dir, format):
    state = {"empty": torch.randn(4, 0)[2:], "imag": torch.empty(0, 3, dtype=torch.complex64).imag,
             "end": torch.arange(3.)[3:], "w": torch.ones(2)}
    make_xp(best_state={"model": state})
    report = export_xp(SIG, dora_dir, format=format, card=False)
    assert verify(report.folder).ok and same(load_release(report.folder).weights, state)


@pytest.mark.skipif("uint16" not in NEW_DTYPES, reason="torch.save refuses other dtypes of one storage")
def test_the_parameters_of_one_storage_with_two_dtypes_are_those_in_the_file(make_xp, dora_dir):
    packed = torch.arange(16, dtype=torch.uint8)
    make_xp(best_state={"model": {"packed": packed, "view": packed.view(torch.uint16)}})
    report = export_xp(SIG, dora_dir)
    assert report.manifest.parameters == 24 and verify(report.folder).ok

"""Remove private keys with `scrub`: patterns, references, and no trace of removed values in a release."""

import json
import time

import pytest
import torch
from helpers import SIG, model_state
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.errors import CheckpointError, OptionError
from audiocraft_export.experiment.config import Config
from audiocraft_export.experiment.privacy.detectors import KnownNames
from audiocraft_export.experiment.privacy.exposure import find_private_values
from audiocraft_export.experiment.privacy.scrub import BUILDER_KEYS, scrub_config, unmatched_patterns
from audiocraft_export.options import PRESETS, expand_presets
from audiocraft_export.release.compression_model import Lookup, find_compression_model
from audiocraft_export.release.families import audioseal, multiband_diffusion
from audiocraft_export.release.model import ReleaseModel

VALUES = {"a": {"path": 1, "b": {"path": 2, "c": {"path": 3, "d": 4}}}, "a2": {"path": 5}, "path": 6,
          "list": [{"path": 7}, {"x": 8}], 9: {"x": 10}, "a.b": 11}
PRIVATE = "/home/joedoe/private"


def leaves(value):
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if items is None else [leaf for item in items for leaf in leaves(item)]


def gone(*patterns, values=VALUES):
    left = leaves(scrub_config(Config(values), patterns).values)
    return [leaf for leaf in leaves(values) if leaf not in left]


@pytest.mark.parametrize(("pattern", "numbers"), [
    ("a", [1, 2, 3, 4]), ("a.path", [1]), ("a.b", [2, 3, 4]), ("path", [6]), ("*.path", [1, 5]), ("a.*.path", [2]),
    ("**.path", [1, 2, 3, 5, 6, 7]), ("a.**.path", [1, 2, 3]), ("a.**", [1, 2, 3, 4]), ("a.*", [1, 2, 3, 4]),
    ("a*.path", [1, 5]), ("*2", [5]), ("p*h", [6]), ("list.0", [7]), ("list.*.x", [8]), ("9", [10]), ("9.x", [10]),
    ("**.c.**.d", [4]), ("**.b.**", [2, 3, 4]), ("a.b.*.d", [4]), ("nothing", []), ("A", []), ("a.path.x", []),
    ("path.**", []), ("*.b.path", [2]), ("**.*a*", [1, 2, 3, 4, 5, 6, 7, 11])])
def test_patterns_match_as_documented(pattern, numbers):
    assert gone(pattern) == numbers


def test_a_section_is_removed_as_a_whole_or_in_parts():
    assert "a" not in scrub_config(Config(VALUES), ["a"]).values
    assert scrub_config(Config(VALUES), ["a.*"]).values["a"] == {}
    assert scrub_config(Config(VALUES), ["list.0"]).values["list"] == [{"x": 8}]


def test_the_order_of_patterns_does_not_matter():
    assert gone("path", "a.path") == gone("a.path", "path", "path") == [1, 6]


def test_without_patterns_the_configuration_is_the_one_that_was_trained():
    config = Config(VALUES)
    assert scrub_config(config, []) is config
    assert scrub_config(config, ["nothing"]).text == config.text


def test_the_configuration_of_the_training_stays_whole():
    config = Config({"a": {"b": 1, "c": 2}})
    assert scrub_config(config, ["a.b"]).values == {"a": {"c": 2}} and config.values == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize("wrong", ["", " ", "a b", ".", "..", "a..b", ".a", "a.", "a[0]", "${a}", "a***", "a**", "**a",
                                   "a.***", "a\n", "{a,b}", None, 3, ["a"]])
def test_an_invalid_pattern_is_refused(wrong):
    config = Config(VALUES)
    for call in (expand_presets, lambda scrub: scrub_config(config, scrub),
                 lambda scrub: unmatched_patterns(config, scrub)):
        with pytest.raises(OptionError, match="scrub pattern .*dotted key|for scrub: .*list of patterns"):
            call(["a", wrong])
    with pytest.raises(OptionError, match="list of patterns"):
        expand_presets("datasource")


def test_presets_are_replaced_by_their_patterns_each_once():
    assert expand_presets(["x", "public", "x", "wandb"]) == ("x", *PRESETS["public"])


def test_a_pattern_with_a_typo_matches_nothing():
    config = Config({"optim": {"lr": 1}})
    assert unmatched_patterns(config, ["wandb", "public", "optim.*", "optim.ls"]) == ["wandb", "optim.ls"]


@pytest.mark.parametrize("reference", [
    "${secret.path}", "x-${secret.path}-y", "${ secret.path }", "${secret[path]}", "${relay}", "${.nested}",
    "${..secret.path}", "${secret.${which}}", "${${which}}", "${oc.decode:${secret.path}}", "${secret.list[0]}"])
def test_keys_that_refer_to_a_removed_key_are_removed(reference):
    values = {"secret": {"path": PRIVATE, "list": [PRIVATE]}, "relay": "${secret.path}", "which": "path",
              "section": {"nested": "${secret.path}", "refers": reference, "stays": "${lr}"}, "lr": 3}
    left = scrub_config(Config(values), ["secret"])
    assert left.values == {"which": "path", "section": {"stays": "${lr}"}, "lr": 3}
    assert OmegaConf.to_container(OmegaConf.create(left.text), resolve=True)["section"] == {"stays": 3}


def test_keys_that_refer_to_a_kept_key_are_kept():
    values = {"data": {"train": 1, "rate": 2}, "whole": "${data}", "rate": "${data.rate}", "env": "${oc.env:USER}",
              "list": [1, 2, 3], "length": "${list}", "word": "data.train", "train": "${data.train}"}
    left = scrub_config(Config(values), ["data.train"]).values
    assert left == {key: {"rate": 2} if key == "data" else value for key, value in values.items() if key != "train"}


def test_no_reference_comes_to_mean_another_element_of_a_list():
    values = {"list": ["a", "b", "c"], "first": "${list[0]}", "last": "${list.2}", "minus": "${list[-1]}",
              "all": "${list}"}
    assert scrub_config(Config(values), ["list.1"]).values == {"list": ["a", "c"], "all": "${list}"}


def test_references_in_a_circle_end():
    values = {"a": "${b}", "b": "${a}", "c": "${d} ${a}", "d": 1}
    assert scrub_config(Config(values), ["d"]).values == {"a": "${b}", "b": "${a}"}


def test_a_key_that_the_model_is_built_from_is_not_removed_because_of_a_reference():
    values = {"data": {"rate": 16000}, "sample_rate": "${data.rate}", "encodec": {"sample_rate": "${sample_rate}"}}
    with pytest.raises(CheckpointError, match="`sample_rate` .* the model is built from, refers to a key") as error:
        scrub_config(Config(values), ["data"])
    assert error.value.code == "config-not-scrubbable"
    assert scrub_config(Config(values), ["data", "sample_rate", "encodec.sample_rate"]).values == {"encodec": {}}


def test_public_removes_private_values_under_any_key():
    values = {"mine": {"corpus": PRIVATE, "names": ["fma", "for joedoe", "//pretrained/x"], "lr": 3,
                       "mail": "a@lab.org"},
              "owner": "anna", "api_key": "hunter2", "node": "gpu7", "/data/x": 1, "note": "hf_" + "aB3" * 11,
              "compression_model_checkpoint": f"{PRIVATE}/checkpoint.th", "refers": "${mine.corpus}",
              "user": "${oc.env:USER}", "optim": {"lr": 1e-4, "epochs": 3}, "dataset": {"batch_size": 4}}
    left = scrub_config(Config(values), ["public"])
    assert left.values == {"mine": {"names": ["fma", "//pretrained/x"], "lr": 3}, "user": "${oc.env:USER}",
                           "optim": {"lr": 1e-4, "epochs": 3}, "dataset": {"batch_size": 4}}
    assert find_private_values(left.values, KnownNames()) == [] and "joedoe" not in left.text


def test_public_removes_the_sections_that_no_loader_reads():
    values = {key.replace("**", "self_wav.chroma_stem"): "samples" for key in PRESETS["public"]}
    cfg = OmegaConf.create({"conditioners": {"self_wav": {"model": "chroma_stem"}}, "generate": {"every": 3}})
    for key, value in values.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    left = scrub_config(Config(OmegaConf.to_container(cfg)), ["public"]).values
    assert left == {"conditioners": {"self_wav": {"model": "chroma_stem", "chroma_stem": {}}}, "generate": {"every": 3}}


@pytest.mark.parametrize(("name", "sig"), [("//pretrained/facebook/encodec_32khz", True), ("//sig/0123abcd", True),
                                           ("/home/joe/x.th", False), ("//pretrained//home/joe/x.bin", False)])
def test_public_keeps_the_name_of_a_codec_and_no_path_of_one(name, sig):
    left = scrub_config(Config({"compression_model_checkpoint": name}), ["public"]).values
    assert left == ({"compression_model_checkpoint": name} if sig else {})


def test_public_removes_a_section_with_a_private_key_and_bytes():
    values = {"mean": {"/home/joe/a": {"w": 1}, "b": {"w": 2}}, "raw": b"/home/joe/x", "hosts": "node[01-16]",
              "db": {"pass": "hunter2", "n": 1}, "metrics": {"kld": {"model": "passt", "passt": {"x": 1}}}}
    left = scrub_config(Config(values), ["public"])
    assert left.values == {"mean": {"b": {"w": 2}}, "db": {"n": 1}, "metrics": values["metrics"]}
    with pytest.raises(CheckpointError, match="the model is built from this key"):
        scrub_config(Config({"lm_model": {"/home/joe/a": {"w": 1}}}), ["public"])


def test_public_refuses_private_values_that_a_model_is_built_from():
    values = {"conditioners": {"description": {"clap": {"checkpoint": f"{PRIVATE}/clap.pt", "dim": 3}}}}
    with pytest.raises(CheckpointError, match=r"cannot remove the private value") as error:
        scrub_config(Config(values), ["public"])
    key = "conditioners.description.clap.checkpoint"
    assert error.value.code == "config-not-scrubbable"
    assert error.value.hint == f"add `{key}` to scrub if the model does not need it"
    left = scrub_config(Config(values), ["public", "conditioners.**.checkpoint"]).values
    assert left == {"conditioners": {"description": {"clap": {"dim": 3}}}}


def test_public_does_not_depend_on_the_machine(monkeypatch):
    config = Config({"solver": "mine", "note": "joedoe on bigbox", "x": {"norm": "layer"}})
    monkeypatch.setenv("USER", "joedoe")
    monkeypatch.setattr("getpass.getuser", lambda: "joedoe")
    monkeypatch.setattr("socket.gethostname", lambda: "bigbox")
    assert scrub_config(config, ["public"]).text == config.text
    assert [each.key for each in find_private_values(config.values)] == ["note", "note"]


def test_a_large_configuration_is_scrubbed_in_no_time():
    chain = {f"k{index}": f"${{k{index + 1}}}" for index in range(3000)}
    start = time.process_time()
    assert scrub_config(Config({**chain, "k3000": PRIVATE}), ["k3000"]).values == {}
    assert gone("list.*", values={"list": list(range(3000)), "x": [f"${{list[{i}]}}" for i in range(900)]})
    assert time.process_time() - start < 20


DIFFUSION = {"solver": "diffusion", "sample_rate": 16000, "channels": 1, "schedule": {"num_steps": 3},
             "diffusion_unet": {"hidden": 8}, "processor": {"use": True},
             "filter": {"use": True, "n_bands": 2, "idx_band": 1, "cutoffs": None}}


def test_scrubbed_values_are_in_no_file_of_a_release(make_xp):
    from audiocraft_export.release.families import audioseal, multiband_diffusion
    private = {"datasource": {"train": PRIVATE}, "refers": "${datasource.train}"}
    folder = make_xp(**{"xp.cfg": OmegaConf.create({**DIFFUSION, **private}), "sample_processor": {"x": torch.ones(1)}})
    model = ReleaseModel.from_checkpoint(open_checkpoint(folder / "checkpoint.th"), "1", scrub=["datasource", "filter"])
    content = multiband_diffusion.files(model)[multiband_diffusion.FILE]
    assert "joedoe" not in repr(content[0]["cfg"]) + content[0]["xp.cfg"] + model.content["xp.cfg"]
    assert "filter" not in content[0]["cfg"] and "only band 1 of 2" in "".join(multiband_diffusion.notes(model))
    parts = {f"{part}.{name}": value for part in ("generator", "detector") for name, value in model_state(3).items()}
    sections = {name: {"own": PRIVATE, "n": 3} for name in audioseal.BUILT_FROM}
    folder = make_xp(sig="aaaa", **{"xp.cfg": OmegaConf.create({"solver": "watermarking", **private, **sections}),
                                    "best_state": {"model": parts}})
    scrub = ["datasource", *(f"{name}.own" for name in sections)]
    model = ReleaseModel.from_checkpoint(open_checkpoint(folder / "checkpoint.th"), "1", scrub=scrub)
    assert OmegaConf.create(audioseal.files(model)["aaaa.yaml"]) == {name: {"n": 3} for name in sections}


@pytest.mark.parametrize("form", ["sig", "checkpoint", "exported"])
def test_the_codec_of_a_language_model_is_scrubbed_as_well(make_xp, dora_dir, tmp_path, form):
    cfg = {"solver": "compression", "compression_model": "encodec", "sample_rate": 16000, "dora": {"dir": PRIVATE}}
    codec = make_xp(sig="c0dec000", **{"xp.cfg": OmegaConf.create(cfg)}) / "checkpoint.th"
    exported = tmp_path / "compression_state_dict.bin"
    content = {"best_state": model_state(3), "xp.cfg": OmegaConf.to_yaml(cfg), "version": "1", "exported": True}
    torch.save(content, exported)
    name = {"sig": "//sig/c0dec000", "checkpoint": str(codec), "exported": f"//pretrained/{exported}"}[form]
    config = Config({"solver": "musicgen", "compression_model_checkpoint": name})
    plain, left = (find_compression_model(config, Lookup(dora_dir / "xps" / SIG, dora_dir, "1", scrub))
                   for scrub in ((), ["dora"]))
    assert OmegaConf.create(plain.content["xp.cfg"]) == cfg and list(plain.content) == list(left.content)
    assert OmegaConf.create(left.content["xp.cfg"]) == {key: value for key, value in cfg.items() if key != "dora"}
    assert str(tmp_path) not in json.dumps(left.origin) and "joedoe" not in json.dumps(left.origin)


def test_a_codec_whose_name_was_scrubbed_is_found_and_its_name_is_in_no_manifest(make_xp, dora_dir, monkeypatch):
    make_xp(sig="c0dec000", **{"xp.cfg": OmegaConf.create({"solver": "compression", "compression_model": "encodec"})})
    monkeypatch.setenv("CODEC", "//sig/c0dec000")
    config = Config({"solver": "musicgen", "compression_model_checkpoint": f"${{oc.env:CODEC,{PRIVATE}}}"})
    origin = find_compression_model(config, Lookup(dora_dir / "xps" / SIG, dora_dir, "1", ["public"])).origin
    assert origin["checkpoint"]["name"] is None and origin["sig"] == "c0dec000"


def test_a_codec_with_a_private_conditioner_is_refused_with_a_reason(make_xp, dora_dir):
    make_xp(sig="c0dec000", **{"xp.cfg": OmegaConf.create(
        {"solver": "compression", "compression_model": "encodec", "seanet": {"init": PRIVATE}})})
    config = Config({"compression_model_checkpoint": "//sig/c0dec000"})
    with pytest.raises(CheckpointError, match=r"[Aa]dd `seanet\.init` to scrub"):
        find_compression_model(config, Lookup(dora_dir / "xps" / SIG, dora_dir, "1", ["public"]))


def test_the_weights_are_those_without_scrub(make_xp):
    checkpoint = open_checkpoint(make_xp() / "checkpoint.th")
    plain, left = (ReleaseModel.from_checkpoint(checkpoint, "1", scrub=scrub) for scrub in ((), ("optim", "user")))
    assert {name: tensor.blob.read_checked() for name, tensor in plain.weights.tensors.items()} == {
        name: tensor.blob.read_checked() for name, tensor in left.weights.tensors.items()}
    assert plain.checkpoint.config.text == plain.config.text
    assert left.config.values == {"solver": "mine", "fsdp": {"use": False}}


def test_the_keys_that_any_model_is_built_from_are_protected():
    assert {*audioseal.BUILT_FROM, *multiband_diffusion.BUILT_FROM} <= {*BUILDER_KEYS}

"""A hint that names a command, an option or a value works when the user follows it."""

import ast
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import torch
from cli.commands import command, in_process
from helpers import AUDIOSEAL, DIFFUSION, PROCESSOR, SIG, flip_bit, model_state, with_cfg
from omegaconf import OmegaConf
from test_error_codes import CLASSES, PACKAGE, calls, literals

from audiocraft_export.release.manifest import Manifest

OTHER = "9357e12e"
NAMES_SOMETHING = re.compile(r"audiocraft-export |(?<![\w-])--[a-z]|\b[a-z_]{4,}=[a-zA-Z]")
ELSEWHERE = {  # codes whose hint another test follows, or that need what these tests do not have
    "worker-start-failed": "needs a system that starts no process: tests/jobs/test_local.py",
    "slurm-rejected": "needs a Slurm: tests/jobs/test_slurm.py",
    "slurm-not-found": "needs a login node for its first half; --jobs: tests/cli/verbs/test_run.py",
    "unexpected-error": "needs a bug: tests/cli/test_runner.py",
    "load-failed": "needs AudioCraft or transformers: tests/audiocraft",
    "load-mismatch": "needs transformers: tests/formats/transformers",
    "pretrained-unavailable": "needs transformers: tests/formats/transformers",
    "weights-config-mismatch": "needs transformers: tests/formats/transformers",
    "damaged-release": "names an option only while it exports to transformers: tests/formats/transformers",
    "unsupported-by-transformers": "needs transformers: tests/formats/transformers",
    "unknown-format": "names the command, not an option: tests/verification",
    "write-failed": "needs a full or read-only $TMPDIR: tests/formats/test_registry.py",
    "disk-full": "as write-failed",
    "sharded-weights": "before a training with FSDP: tests/hooks/test_before_training.py",
    "experiment-changed": "tests/hooks/test_recovery.py",
    "missing-passphrase": "an environment variable, or a terminal: tests/system/test_signatures.py",
    "push-failed": "tests/sharing/hub/test_errors.py",
}
CASES = []


class Scene:
    """A Dora folder `outputs` in the current folder."""

    def __init__(self, make_xp, home):
        self.xp, self.home = make_xp, home

    def path(self, name, text=""):
        (self.home / name).write_text(text)
        return name


def case(code):
    """Register a generator: it yields a command that fails, is sent the hint, and yields a command that works."""
    def add(steps):
        CASES.append(pytest.param(code, steps, id=steps.__name__))
        return steps
    return add


def found(pattern, hint):
    match = re.search(pattern, hint)
    assert match, hint
    return match[1]


@case("checkpoint-not-found")
def a_checkpoint_of_another_epoch(scene):
    scene.xp(name="checkpoint_2.th")
    hint = yield ["run", SIG]
    yield ["run", SIG, "--checkpoint", found(r"--checkpoint (\w+)", hint)]


@case("checkpoint-not-found")
def without_the_option_checkpoint(scene):
    scene.xp()
    found("(omit the option checkpoint to use checkpoint.th)", (yield ["inspect", SIG, "--checkpoint", "3"]))
    yield ["inspect", SIG]


def cut(path):
    path.write_bytes(path.read_bytes()[:-99])


@case("corrupted-file")
def the_whole_checkpoint_of_an_epoch(scene):
    scene.xp(name="checkpoint_2.th")
    cut(scene.xp() / "checkpoint.th")
    yield ["run", SIG, *found(r"\((--checkpoint \w+)\)", (yield ["run", SIG])).split()]


@case("corrupted-file")
def the_last_checkpoint_if_that_of_an_epoch_is_cut(scene):
    cut(scene.xp(name="checkpoint_2.th") / "checkpoint_2.th")
    scene.xp()
    found("or (omit the option checkpoint to export checkpoint.th)", (yield ["run", SIG, "--checkpoint", "2"]))
    yield ["run", SIG]


@case("corrupted-file")
def an_earlier_checkpoint_if_weights_are_damaged(scene):
    scene.xp(name="checkpoint_2.th")
    flip_bit(scene.xp() / "checkpoint.th", model_state(3)["emb.0.weight"])
    yield ["run", SIG, *found(r"\((--checkpoint \w+)\)", (yield ["run", SIG])).split()]


@case("training-folder")
def a_folder_that_is_no_checkpoint(scene):
    path = scene.xp() / "checkpoint.th"
    found("(choose another output path)", (yield ["run", SIG, "--folder", path]))
    yield ["run", SIG, "--folder", "there"]


@case("corrupted-file")
def another_checkpoint_file_by_its_path(scene):
    scene.xp(name="checkpoint_2.th")
    folder = scene.xp()
    cut(folder / "checkpoint.th")
    yield ["run", found("or export (.*)", (yield ["run", folder / "checkpoint.th"]))]


@case("scrub-dropped")
def the_scrub_patterns_of_the_existing_release(scene):
    scene.xp()
    command("run", SIG, "--scrub", "optim.lr", cwd=scene.home)
    yield ["run", SIG, *found(r"add (--scrub \S+) ", (yield ["run", SIG])).split()]


@case("missing-weights")
def the_last_weights_before_a_validation(scene):
    scene.xp(best_state={}, ema=...)
    yield ["run", SIG, "--weights", found("^use weights=(.*)$", (yield ["run", SIG]))]


@case("missing-weights")
def the_ema_if_there_are_no_last_weights_either(scene):
    scene.xp(best_state={}, model={})
    yield ["run", SIG, "--weights", found("^use weights=(.*)$", (yield ["run", SIG, "--weights", "last"]))]


@case("unexpected-parts")
def all_parts_as_a_general_model(scene):
    scene.xp(best_state={"a": model_state(), "b": model_state()}, **{"xp.cfg": OmegaConf.create(AUDIOSEAL)})
    yield ["run", SIG, "--family", found("family=(general)", (yield ["run", SIG]))]


@case("family-mismatch")
def a_model_without_the_weights_of_its_family(scene):
    scene.xp(**{"xp.cfg": OmegaConf.create(AUDIOSEAL)})
    yield ["run", SIG, *shlex.split(found(r"\((--family general)\)", (yield ["run", SIG])))]


@case("missing-sample-processor")
def a_diffusion_model_without_its_sample_processor(scene):
    scene.xp(**{"xp.cfg": OmegaConf.create({**DIFFUSION, "filter": {
        "use": True, "n_bands": 1, "idx_band": 0, "cutoffs": None}})})
    yield ["run", SIG, *shlex.split(found(r"\((--family general)\)", (yield ["run", SIG])))]


@case("corrupted-file")
def inspecting_another_checkpoint_than_a_truncated_one(scene):
    path = scene.xp() / "checkpoint.th"
    path.with_name("checkpoint_2.th").write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:1000])
    yield ["inspect", SIG, *shlex.split(found(r"\((--checkpoint 2)\)", (yield ["inspect", SIG])))]


@case("dora-folder-not-found")
def an_xp_folder_as_the_dora_folder(scene):
    folder = scene.xp()
    yield ["list", *shlex.split(found(r"did you mean (--dora-dir .*)\?", (yield ["list", "--dora-dir", folder])))]


@case("family-mismatch")
def without_the_option_bands(scene):
    scene.xp()
    found("(without --bands)", (yield ["run", "--bands", SIG, "--folder", "one"]))
    yield ["run", SIG, "--folder", "one"]


@case("prefix-conflict")
def the_names_with_their_prefixes(scene):
    state = {"w": torch.ones(1), "_orig_mod.w": torch.ones(1)}
    cfg = with_cfg(solver="compression", encodec={}, seanet={}, quantizer="rvq", sample_rate=1, channels=1)
    scene.xp(best_state={"model": state}, **{"xp.cfg": cfg})
    yield ["run", SIG, "--family", found("family=(general)", (yield ["run", SIG, "--family", "compression"]))]


@case("missing-codec")
def a_language_model_without_its_codec(scene):
    scene.xp()
    yield ["run", SIG, "--family", "musicgen", "--codec",
           found("codec=(none)", (yield ["run", SIG, "--family", "musicgen"]))]


@case("codec-not-found")
def a_codec_that_is_not_on_this_machine(scene):
    scene.xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="/none/checkpoint.th")})
    yield ["run", SIG, "--codec", found("codec=(none)", (yield ["run", SIG]))]


@case("invalid-bands")
def bands_in_their_order(scene):
    for index in (0, 1):
        cfg = {**DIFFUSION, "filter": {"use": True, "n_bands": 2, "idx_band": index, "cutoffs": None}}
        scene.xp(f"{index:08d}", sample_processor=PROCESSOR, **{"xp.cfg": OmegaConf.create(cfg)})
    hint = yield ["run", "--bands", "00000001", "00000000", "--folder", "mbd"]
    yield ["run", "--bands", *found("in this order: (.*)", hint).split(), "--folder", "mbd"]


@case("conflicting-options")
def the_folder_of_bands(scene):
    scene.xp(**{"xp.cfg": OmegaConf.create({**DIFFUSION, "filter": {
        "use": True, "n_bands": 1, "idx_band": 0, "cutoffs": None}}), "sample_processor": PROCESSOR})
    yield ["run", "--bands", SIG, found("(--folder)", (yield ["run", "--bands", SIG])), "mbd"]


@case("conflicting-options")
def a_checkpoint_file_and_the_name_of_another(scene):
    folder = scene.xp()
    found("(omit --checkpoint, or name the XP folder)", (yield ["run", folder / "checkpoint.th", "--checkpoint", "2"]))
    scene.xp(name="checkpoint_2.th")
    yield ["run", folder, "--checkpoint", "2"]


@case("conflicting-options")
def a_configuration_for_a_checkpoint_that_has_one(scene):
    scene.xp()
    found(r"omit config \((--config)\)", (yield ["run", SIG, "--config", scene.path("c.yaml", "a: 1\n")]))
    yield ["run", SIG]


@case("missing-config")
def a_configuration_for_a_checkpoint_that_has_none(scene):
    scene.xp(**{"xp.cfg": ...})
    yield ["run", SIG, found("(--config) FILE", (yield ["run", SIG])), scene.path("c.yaml", "solver: mine\n")]


@case("experiment-mismatch")
def a_checkpoint_that_was_copied(scene):
    folder = scene.xp()
    scene.xp(OTHER)
    os.replace(folder / "checkpoint.th", folder.parent / OTHER / "checkpoint.th")
    hint = yield ["run", OTHER]
    yield ["run", folder.parent / OTHER / "checkpoint.th", found("path of the file and (--folder) DIR", hint), "there"]


@case("other-experiment")
def the_folder_of_another_release(scene):
    scene.xp(), scene.xp(OTHER)
    command("run", OTHER, "--folder", "one", cwd=scene.home)
    yield ["run", SIG, "--folder", "one", found(r"\((--force)\)", (yield ["run", SIG, "--folder", "one"]))]


@case("dora-folder-not-found")
def the_dora_folder_of_xps(scene):
    scene.xp()
    yield ["list", *shlex.split(found(r"(--dora-dir .*)\?", (yield ["list", "--dora-dir", "outputs/xps"])))]


@case("dora-folder-not-found")
def a_dora_folder_elsewhere(scene):
    scene.xp()
    os.rename(scene.home / "outputs", scene.home / "elsewhere")
    yield ["run", SIG, found("(--dora-dir)", (yield ["run", SIG])), "elsewhere"]


@case("wrong-target")
def an_experiment_of_a_dora_folder_elsewhere(scene):
    scene.xp()
    os.rename(scene.home / "outputs", scene.home / "elsewhere")
    dora_dir, sig = re.search("with (.*): (.*)", (yield ["run", "elsewhere/xps"])).groups()
    yield ["run", sig, *shlex.split(dora_dir)]


@case("wrong-target")
def a_release_of_a_dora_folder(scene):
    scene.xp()
    command("run", SIG, cwd=scene.home)
    yield ["verify", found("give the release of an experiment: (.*)", (yield ["verify", "outputs"]))]


@case("wrong-target")
def an_export_before_a_conversion(scene):
    hint = yield ["convert", scene.xp() / "checkpoint.th", "--to", "safetensors"]
    yield shlex.split(found("export it first: audiocraft-export (.*)", hint))


@case("wrong-target")
def an_export_before_a_verification(scene):
    yield shlex.split(found("export it first: audiocraft-export (.*)", (yield ["verify", scene.xp()])))


@case("wrong-target")
def a_checkpoint_without_a_release(scene):
    path = scene.xp() / "checkpoint.th"
    hint = yield ["verify", path]
    yield found("audiocraft-export (.*)", hint).split()


@case("wrong-target")
def a_release_without_its_experiment(scene):
    folder = scene.xp()
    command("run", SIG, cwd=scene.home)
    (folder / "checkpoint.th").unlink()
    hint = yield ["run", folder / "export"]
    yield found("audiocraft-export (verify .*?) checks", hint).split()


@case("wrong-target")
def a_release_has_no_checkpoints(scene):
    release = scene.xp() / "export"
    command("run", SIG, cwd=scene.home)
    found("(omit --checkpoint)", (yield ["inspect", release, "--checkpoint", "2"]))
    yield ["inspect", release]


@case("experiment-not-found")
def a_similar_signature(scene):
    scene.xp(OTHER)
    yield ["run", found(r"did you mean (\w+)\?", (yield ["run", "9357e12f"]))]


@case("package-import-failed")
def a_dora_folder_instead_of_a_package(scene):
    scene.xp()
    yield ["run", SIG, found("(--dora-dir)", (yield ["run", SIG, "-P", "no_such_package"])), "outputs"]


@case("unsupported-by-safetensors")
def a_name_that_safetensors_does_not_support(scene):
    scene.xp(best_state={"model": {"__metadata__": torch.ones(1)}})
    hint = yield ["run", SIG, "--format", "safetensors"]
    yield ["run", SIG, "--format", found("format=(audiocraft)", hint)]


@case("lossy-conversion")
def the_export_in_another_format(scene):
    scene.xp()
    command("run", SIG, cwd=scene.home)
    manifest = Manifest.load(scene.home / "outputs" / "xps" / SIG / "export")
    manifest.options["format"] = "transformers"
    (scene.home / "outputs" / "xps" / SIG / "export" / "export.json").write_text(manifest.text)
    hint = yield ["convert", f"outputs/xps/{SIG}/export", "--to", "safetensors"]
    yield ["run", SIG, "--format", found("format=(safetensors)", hint)]


@case("loader-missing")
def a_model_that_no_library_loads(scene):
    scene.xp()
    yield ["run", SIG, "--verify", found("verify=(bytes)", (yield ["run", SIG, "--verify", "load"]))]


@case("loader-missing")
def a_verification_without_loading(scene):
    scene.xp()
    command("run", SIG, cwd=scene.home)
    found("(omit --load)", (yield ["verify", f"outputs/xps/{SIG}/export", "--load"]))
    yield ["verify", f"outputs/xps/{SIG}/export"]


@case("invalid-arguments")
def the_help_of_a_command(scene):
    yield shlex.split(found("see audiocraft-export (.*)", (yield ["run"])))


@case("unknown-option")
def the_options_of_a_command(scene):
    yield shlex.split(found("see audiocraft-export (.*)", (yield ["list", "--elsewhere"])))


@case("unknown-option")
def a_flag_with_a_typo(scene):
    scene.xp()
    yield ["run", SIG, found(r"did you mean (.*)\?", (yield ["run", SIG, "--weigths=last"])), "last"]


@case("unknown-option")
def a_flag_with_the_name_of_its_option(scene):
    hint = yield ["run", SIG, "--hub", "me/mine"]
    assert hint == "did you mean --push-to-hub?"
    yield ["run", "--help"]


@case("invalid-arguments")
def an_override_of_hydra(scene):
    scene.xp()
    yield ["run", SIG, *found(r"did you mean (.*)\?", (yield ["run", SIG, "exporter.weights=last"])).split()]


@case("invalid-arguments")
def the_list_of_codes(scene):
    yield shlex.split(found("run audiocraft-export (.*) to list", (yield ["explain", "nonsense"])))


@case("invalid-arguments")
def a_code_with_a_typo(scene):
    yield ["explain", found(r"did you mean (.*)\?", (yield ["explain", "error[disk-ful]"]))]


@case("invalid-option")
def a_format_with_a_typo(scene):
    scene.xp()
    hint = yield ["run", SIG, "--format", "safetensor"]
    yield ["run", SIG, "--format", found(r"did you mean '(.*)'\?", hint)]


@case("scrub-dropped")
def the_scrub_patterns_of_the_previous_release(scene):
    scene.xp()
    command("run", SIG, "--scrub", "user", "--scrub", "optim.*", cwd=scene.home)
    hint = yield ["run", SIG, "--dtype", "float16"]
    assert "'optim.*'" in hint  # quoted for a shell
    yield ["run", SIG, "--dtype", "float16", *shlex.split(found(r"add (.*) \(exporter.scrub\)", hint))]


@case("invalid-job-folder")
def a_folder_that_slurm_can_use(scene):
    scene.xp()
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (scene.home / name).write_text("#!/bin/sh\nexit 1\n")
        (scene.home / name).chmod(0o755)
    hint = yield ["run", SIG, "--slurm", f"folder={scene.home}/50%"]
    # The export itself needs a Slurm.
    yield ["run", SIG, *found("(--slurm folder=)", hint).split()[:1], f"folder={scene.home}/jobs", "--dry-run"]


@pytest.mark.parametrize(("code", "steps"), CASES)
def test_a_hint_works_when_it_is_followed(code, steps, make_xp, tmp_path, monkeypatch):
    for name in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    scene = Scene(make_xp, tmp_path)
    attempt = steps(scene)
    failed = in_process([*map(str, next(attempt))], tmp_path)
    error, *hint = failed.stderr.splitlines()[:2]
    assert failed.returncode in (1, 2) and error.startswith(f"error[{code}]: "), failed.stderr
    assert len(hint) == 1 and hint[0].startswith("  hint: "), failed.stderr
    command(*attempt.send(hint[0].removeprefix("  hint: ")), cwd=tmp_path)


def test_every_error_whose_hint_names_something_is_followed_by_a_test():
    named = {}
    constants = {target.id: literals(node.value) for path in PACKAGE.rglob("*.py")
                 for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)
                 for target in node.targets if isinstance(target, ast.Name)}
    for place, name, args in calls():
        texts = [text for arg in args[2:3] for text in literals(arg).union(*(
            constants.get(each.id, set()) for each in ast.walk(arg) if isinstance(each, ast.Name)))]
        if name in CLASSES and any(map(NAMES_SOMETHING.search, texts)):
            named.update((code, place) for code in literals(args[0]))
    covered = {*ELSEWHERE, *(each.values[0] for each in CASES)}
    assert {code: place for code, place in named.items() if code not in covered} == {}
    tests = Path(__file__).parents[1]
    for why in ELSEWHERE.values():
        assert all((tests.parent / path).exists() for path in re.findall(r"tests/[\w/.]*\w", why)), why


@pytest.mark.parametrize("argv", [
    ["run", "--json", "--bogus"], ["run", "--json"], ["list", "--json"], ["run", "--json", "x", "--jobs", "y"]])
def test_json_has_the_error_of_a_command_that_does_nothing(argv, tmp_path):
    failed = in_process(argv, tmp_path)
    error = json.loads(failed.stdout)["error"]
    assert list(error) == ["code", "message", "hint"]
    assert failed.stderr.startswith(f"error[{error['code']}]: {error['message']}\n")

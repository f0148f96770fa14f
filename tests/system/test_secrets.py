"""Values of the environment that a configuration refers to are never shown or stored."""

import secrets
import traceback
from contextlib import suppress

import pytest
import torch
from helpers import SIG, command, dora, load, model_state, only_xp, same, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_encodec, export_lm, export_xp
from audiocraft_export.cli import main as cli
from audiocraft_export.pipeline.export import export_state

CODEC = "c0dec000"
NAME = "hunter2-" + secrets.token_hex(8)
VALUES = {"plain": NAME, "grammar": f"{NAME}: [{{'", "number": f"{NAME}\n1", "reference": f"${{{NAME}}}",
          "resolver": f"${{oc.env:{NAME}}}", "yaml": f"!!python/object:{NAME} *x"}
ENV = "${oc.env:SECRET}"
FORMS = {
    "env": ENV, "inside": f"x-{ENV}-y", "default": "${oc.env:NOT_THERE,${oc.env:SECRET}}",
    "quoted": "${oc.env:'SECRET'}", "spaces": "${ oc.env : SECRET }", "decode": "${oc.decode:${oc.env:SECRET}}",
    "name": "${name}", "nested name": "${deep.name}", "which": "${oc.env:${which}}", "resolver": "${oc.${env}:SECRET}",
    "key": "${${oc.env:SECRET}}", "deep key": "${deep.${oc.env:SECRET}}", "env of env": "${oc.env:${oc.env:SECRET}}",
    "select": "${oc.select:${oc.env:SECRET}}", "select default": "${oc.select:no,${oc.env:SECRET}}",
    "create": "${oc.create:${oc.env:SECRET}}", "keys": "${oc.dict.keys:${oc.env:SECRET}}",
    "no resolver": "${${oc.env:SECRET}:x}", "sum": "${oc.env:SECRET}${oc.env:SECRET}",
}
NAMES = {"name": ENV, "deep": {"name": "${name}"}, "which": "SECRET", "env": "env"}
PLACES = [  # every key that is ever resolved, in a configuration that has it
    ("solver", {}), ("fsdp", {}), ("fsdp.use", {}), ("solver", {"fsdp": {"use": True}}), ("optim.lr", {}),
    ("compression_model_checkpoint", {"solver": "musicgen"}), ("sample_rate", {"solver": "diffusion"}),
    ("channels", {"solver": "diffusion"}), ("schedule", {"solver": "diffusion"}),
    ("schedule.num_steps", {"solver": "diffusion"}), ("diffusion_unet", {"solver": "diffusion"}),
    ("diffusion_unet.hidden", {"solver": "diffusion"}), ("processor", {"solver": "diffusion"}),
    ("processor.name", {"solver": "diffusion"}), ("filter", {"solver": "diffusion"}),
    ("filter.use", {"solver": "diffusion"}), ("filter.n_bands", {"solver": "diffusion"}),
    ("filter.idx_band", {"solver": "diffusion"}), ("filter.cutoffs", {"solver": "diffusion"}),
    ("n_q", {"solver": "diffusion"}), ("resampling", {"solver": "diffusion"}),
    ("audioseal", {"solver": "watermarking"}),
    ("audioseal.nbits", {"solver": "watermarking"}), ("seanet", {"solver": "watermarking"}),
    ("seanet.dimension", {"solver": "watermarking"}), ("detector", {"solver": "watermarking"}),
    ("detector.output_dim", {"solver": "watermarking"}), ("compression_model", {"solver": "compression"}),
]
BASES = {
    "diffusion": {"sample_rate": 16000, "channels": 1, "schedule": {"num_steps": 3}, "diffusion_unet": {"hidden": 8},
                  "processor": {"use": True}, "filter": {"use": True, "n_bands": 2, "idx_band": 0, "cutoffs": None}},
    "watermarking": {"audioseal": {"nbits": 16}, "seanet": {"dimension": 3}, "detector": {"output_dim": 3}},
    "musicgen": {"compression_model_checkpoint": "//pretrained/x"}, "compression": {"compression_model": "encodec"},
}
WATERMARK = {f"{part}.{name}": value for part in ("generator", "detector") for name, value in model_state(3).items()}


@pytest.fixture(params=VALUES)
def value(request, monkeypatch):
    monkeypatch.setenv("SECRET", VALUES[request.param])
    return VALUES[request.param]


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv("SECRET", NAME)
    return NAME


@pytest.fixture
def silent(capsys, caplog, tmp_path):
    """Search for the secret in all output of an export."""
    def look(*folders, said=()):
        out, err = capsys.readouterr()
        records = [record.getMessage() + str(record.exc_info) for record in caplog.records]
        for text in [*said, out, err, caplog.text, *records]:
            assert NAME not in text, text
        for folder in folders or [tmp_path]:
            for path in folder.rglob("*"):
                if path.is_file() and path.suffix != ".th" and "codecs" not in path.parts:
                    assert NAME.encode() not in path.read_bytes(), path
                    assert folders or NAME not in str(path.relative_to(tmp_path)), path
        return out, err
    return look


def chain(exc):
    """Return an exception with all its causes, as --debug shows it."""
    found = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    return found


def said_by(call, *args, **kwargs):
    """Return the output of a call: its report, or its error with all causes."""
    try:
        report = call(*args, **kwargs)
        return report, [str(report), repr(report), str(report.to_dict() if hasattr(report, "to_dict") else "")]
    except ExportError as exc:
        texts = [text for each in chain(exc) for text in (str(each), repr(each), repr(each.args), repr(vars(each)))]
        return None, [*texts, "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))]


def configuration(place, form, **base):
    """Return a configuration with an interpolation at a key, and the keys that it may refer to."""
    cfg = OmegaConf.create({**BASES.get(base.get("solver"), {}), **base, **NAMES})
    OmegaConf.update(cfg, place, form, merge=False, force_add=True)
    return cfg


def sections(cfg):
    """Return the other sections that a checkpoint with this configuration needs."""
    watermark = OmegaConf.to_container(cfg).get("solver") == "watermarking"
    return {"xp.cfg": cfg, "sample_processor": {}, **({"best_state": {"model": WATERMARK}} if watermark else {})}


def everywhere(target, dora_dir, *flags):
    """Export with the command: plain, as JSON, with tracebacks, with other weights, and as a band."""
    for more in (["--json"], ["--debug"], ["--json", "--debug", "--weights=last"], ["--codec=none", "--dtype=float16"],
                 ["--bands", f"--folder={dora_dir}/bands", "--debug"]):
        with suppress(SystemExit):
            cli.main(["run", str(target), f"--dora-dir={dora_dir}", *flags, *more])


@pytest.mark.parametrize(("place", "base", "form"), [
    (place, base, form) for row, (place, base) in enumerate(PLACES) for column, form in enumerate(FORMS)
    if (row + column) % 3 == 0], ids=lambda part: part if isinstance(part, str) else part.get("solver", "plain"))
def test_the_value_of_an_interpolation_is_never_shown(make_xp, dora_dir, secret, silent, place, base, form):
    cfg = configuration(place, FORMS[form], **base)
    checkpoint = make_xp(**sections(cfg)) / "checkpoint.th"
    report, said = said_by(export_xp, SIG, dora_dir)
    silent(said=said)
    everywhere(SIG, dora_dir)
    for function in (export_lm, export_encodec):
        silent(said=said_by(function, checkpoint, dora_dir / "drop-in.bin")[1])
    if report is not None and report.files[0].name == "state_dict.bin":
        assert load(report.files[0])["xp.cfg"] == OmegaConf.to_yaml(cfg)


@pytest.mark.parametrize("place", ["solver", "fsdp", "fsdp.use", "compression_model_checkpoint", "schedule.num_steps",
                                   "audioseal.nbits", "filter.cutoffs"])
@pytest.mark.parametrize("form", ["env", "decode", "key", "env of env", "create", "no resolver", "select"])
def test_a_secret_of_any_shape_is_shown_nowhere(make_xp, dora_dir, value, silent, place, form):
    solver = {"c": "musicgen", "s": "diffusion", "a": "watermarking"}.get(place[0], "mine")
    solver = "diffusion" if place.startswith("filter") else solver
    make_xp(**sections(configuration(place, FORMS[form], **({} if place == "solver" else {"solver": solver}))))
    silent(said=said_by(export_xp, SIG, dora_dir)[1])
    everywhere(SIG, dora_dir)
    silent()


@pytest.fixture
def codecs(make_xp, tmp_path, secret):
    """Write codecs to paths with the secret in their names: training checkpoints and exported files."""
    home = tmp_path / "codecs"
    codec = make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec"), "xp.sig": ...,
                              "best_state": {"model": model_state(6)}})
    for place in (f"{secret}/checkpoint.th", f"{secret}.th", f"checkpoint_{secret}.th", f"{secret}/{secret}",
                  f"xps/{secret}/checkpoint.th"):
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).write_bytes((codec / "checkpoint.th").read_bytes())
    export_encodec(codec / "checkpoint.th", home / f"{secret}.bin")
    export_encodec(codec / "checkpoint.th", home / secret / "compression_state_dict.bin")
    (home / "broken").mkdir()
    (home / "broken" / secret).write_text("no checkpoint")
    torch.save({"pretrained": "facebook/x", "exported": True, "version": "1"}, home / f"{secret}.reference.bin")
    return home


@pytest.mark.parametrize("form", [
    "@", "//pretrained/@", "//pretrained/a/@", "//pretrained/{home}/@", "//pretrained/{home}/@.bin",
    "//pretrained/{home}/no/@", "//pretrained/{home}/@.reference.bin", "{home}/@/checkpoint.th", "{home}/@",
    "{home}/@.th", "{home}/@/@", "{home}/@.bin", "{home}/checkpoint_@.th", "{home}/no/@/checkpoint.th", "{home}/no@",
    "{home}/broken/@", "../../codecs/@", "@/no", "~/@", "//sig/@", "//sig/@/checkpoint.th", "//sig/{codec}/@",
    "//sig/@/..", "//sig/no-@", "//sig/{codec}/checkpoint_@.th", "//reference/@", "//reference/@.th",
    "//reference/no/@", "//reference/@/checkpoint.th", "//@/x", "//@", "/@", "\0@"], ids=ascii)
@pytest.mark.parametrize("inner", ["${oc.env:SECRET}", "${name}", "${oc.env:${which}}", "${oc.env:NO,${deep.name}}"])
def test_a_codec_at_a_secret_place_leaves_no_trace_of_it(make_xp, dora_dir, codecs, silent, monkeypatch, form, inner):
    monkeypatch.setenv("AUDIOCRAFT_REFERENCE_DIR", str(codecs))
    form = form.replace("@", inner).replace("{home}", str(codecs)).replace("{codec}", CODEC)
    make_xp(**{"xp.cfg": configuration("compression_model_checkpoint", form, solver="musicgen")})
    for place in (dora_dir, codecs):
        report, said = said_by(export_checkpoint, dora_dir / "xps" / SIG / "checkpoint.th", dora_dir / "out",
                               ExportOptions(version="1"), place)
        silent(dora_dir, said=said)
        if report is not None and len(report.files) > 1:
            package = load(report.files[1])
            assert package.get("pretrained") == "facebook/x" or same(package["best_state"], model_state(6))
    for flags in (["--debug"], ["--json", "--folder=" + str(dora_dir / "again")]):
        with suppress(SystemExit):
            cli.main(["run", str(dora_dir / "xps" / SIG), *flags])
        silent(dora_dir)


@pytest.mark.parametrize("form", ["//pretrained/${oc.env:SECRET}", "//pretrained/a/${name}"])
def test_a_public_codec_by_a_secret_name_is_refused(make_xp, dora_dir, secret, form, silent):
    folder = make_xp(**{"xp.cfg": configuration("compression_model_checkpoint", form, solver="musicgen")})
    with pytest.raises(ExportError, match="compression_model_checkpoint") as error:
        export_xp(SIG, dora_dir)
    assert form in str(error.value) and "\n" not in str(error.value) and not (folder / "export").exists()
    silent(said=said_by(export_xp, SIG, dora_dir)[1])


def test_a_codec_that_can_be_read_at_a_secret_place_is_released(make_xp, dora_dir, codecs, silent):
    make_xp(**{"xp.cfg": configuration("compression_model_checkpoint", f"{codecs}/{ENV}/checkpoint.th",
                                       solver="musicgen")})
    report = export_xp(SIG, dora_dir)
    assert same(load(report.files[1])["best_state"], model_state(6))
    assert f"{codecs}/{ENV}/checkpoint.th" in load(report.files[0])["xp.cfg"]
    silent(dora_dir)


@pytest.mark.parametrize("place", ["solver", "compression_model", "optim.lr", "sample_rate"])
@pytest.mark.parametrize("form", ["env", "key", "decode", "env of env"])
def test_the_configuration_of_a_codec_stays_text_as_well(make_xp, dora_dir, tmp_path, secret, silent, place, form):
    cfg = configuration(place, FORMS[form], solver="compression", compression_model="encodec")
    codec = make_xp(CODEC, **{"xp.cfg": cfg})
    exported = tmp_path / "exported.bin"
    torch.save({"best_state": model_state(6), "xp.cfg": OmegaConf.to_yaml(cfg), "version": "1", "exported": True},
               exported)
    for name in (f"//sig/{CODEC}", str(codec), str(exported)):
        make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=name)})
        silent(said=said_by(export_xp, SIG, dora_dir)[1])
        everywhere(SIG, dora_dir)
        silent()


@pytest.mark.parametrize("place", ["solver", "fsdp", "optim.lr", "compression_model_checkpoint"])
@pytest.mark.parametrize("form", ["env", "key", "decode", "env of env"])
def test_interpolations_in_hydra_s_config_stay_unresolved(make_xp, dora_dir, secret, silent, place, form):
    folder = make_xp(**{"xp.cfg": ...})
    (folder / ".hydra").mkdir()
    base = {"solver": "musicgen"} if place.startswith("comp") else {}
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(configuration(place, FORMS[form], **base)))
    silent(said=said_by(export_xp, SIG, dora_dir)[1])
    everywhere(SIG, dora_dir)
    silent()


class Living:
    """A section of a running solver."""

    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return self.state


@pytest.mark.parametrize("place", ["solver", "fsdp.use", "optim.lr", "compression_model_checkpoint"])
@pytest.mark.parametrize("form", FORMS)
def test_interpolations_of_a_running_solver_stay_unresolved(tmp_path, secret, silent, place, form):
    cfg = configuration(place, FORMS[form], **({"solver": "musicgen"} if place.startswith("comp") else {}))
    sources = {name: Living(value) for name, value in solver_state().items() if not name.startswith("xp")}
    folder = tmp_path / "xps" / SIG
    folder.mkdir(parents=True)
    silent(said=said_by(export_state, sources, cfg, SIG, folder)[1])


def test_the_command_shows_no_secret_as_a_process_of_its_own(make_xp, dora_dir, tmp_path, secret, silent):
    for form in ("//pretrained/${oc.env:SECRET}", "${${oc.env:SECRET}}", "//sig/${oc.env:SECRET}"):
        make_xp(**{"xp.cfg": configuration("compression_model_checkpoint", form, solver="musicgen")})
        result = command("run", SIG, "--debug", "--json", cwd=tmp_path, SECRET=secret)
        assert result.returncode == 1
        silent(said=[result.stdout, result.stderr])


def test_dora_exports_a_configuration_with_a_secret_as_text(project, secret, silent):
    root = project(config="token: ${oc.env:SECRET}\nnested: {token: '${token}'}\n")
    result = dora("run", "export=true", cwd=root, SECRET=secret)
    assert result.returncode == 0, result.stderr
    release = only_xp(root) / "export"
    assert "token: ${oc.env:SECRET}" in load(release / "state_dict.bin")["xp.cfg"]
    silent(release, said=[result.stdout, result.stderr])

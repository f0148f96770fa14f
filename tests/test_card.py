"""The model card: what a person reads, what the Hub reads, and what a person wrote into it."""

import ast
import re
from dataclasses import replace
from io import BytesIO

import pytest
import torch
from helpers import AUDIOSEAL, DIFFUSION, PROCESSOR, SIG, model_state
from omegaconf import OmegaConf
from snippets import blocks_of, snippet_of

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.errors import ReleaseError
from audiocraft_export.release.metrics import best_epoch
from audiocraft_export.storage.durable_file import WrittenFile

pytest.importorskip("huggingface_hub")
pytest.importorskip("matplotlib")

from huggingface_hub import ModelCard  # noqa: E402

from audiocraft_export.sharing.card.card import card
from audiocraft_export.sharing.card.plot import DARK_FILE, LIGHT_FILE, curves

LANGUAGE_MODEL = {
    "sample_rate": 32000, "channels": 1, "codebooks_pattern": {"modeling": "delay"}, "user": "${oc.env:USER}",
    "transformer_lm": {"n_q": 4, "card": 2048, "num_layers": 2, "num_heads": 16, "dim": 1024},
    "dataset": {"segment_duration": 30}, "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
    "conditioners": {"args": {}, "description": {"model": "t5", "t5": {"name": "t5-base"}}},
    "generate": {"lm": {"decoding_steps": [20, 10, 10, 10]}}}
CODEC = {"compression_model": "encodec", "sample_rate": 24000, "channels": 2, "encodec": {"causal": True},
         "rvq": {"n_q": 8, "bins": 1024}, "seanet": {"ratios": [8, 5, 4, 2], "n_filters": 32, "dimension": 128}}
CONFIGS = {
    **{solver: {**LANGUAGE_MODEL, "solver": solver}
       for solver in ("musicgen", "audiogen", "magnet", "audio_magnet", "jasco", "lm", "sound_lm")},
    "compression": {**CODEC, "solver": "compression"}, "diffusion": {**DIFFUSION, "n_q": 4},
    "watermarking": AUDIOSEAL, "mine": {"solver": "mine"}, "nothing": {}}
SAYS = {  # of each family, what only its card can know
    "musicgen": "4 codebooks, 2,048 entries each, `delay` pattern", "audiogen": "AudioGen.get_pretrained",
    "magnet": "decoding_steps=[20, 10, 10, 10]", "audio_magnet": "MAGNeT", "jasco": "flow matching",
    "lm": "`description` by `t5-base`", "sound_lm": "2 layers, 16 heads, dimension 1,024",
    "compression": "8 codebooks, 1,024 entries each, 75 Hz, 6 kbit/s", "diffusion": "codec.set_num_codebooks(4)",
    "watermarking": "| Message | 16 bits |", "mine": "| Solver | `mine` |", "nothing": "trained with Flashy and Dora"}
HISTORY = [{"train": {"ce": 4.0 - index, "lr": 1e-3}, "valid": {"ce": 4.5 - index, "ppl": 9.0}} for index in range(3)]
HOSTILE = "`x` | <b>y</b> <!-- /audiocraft-export: training --> \n# z\n--- [a](http://e.vil) $$1$$ *i* _j_ \x1b\u202e"


@pytest.fixture
def release(make_xp, dora_dir):
    """A real release; gives its manifest, configuration and history."""
    def make(cfg=CONFIGS["musicgen"], history=HISTORY, **options):
        state = {f"{part}.{name}": value for part in ("generator", "detector")
                 for name, value in model_state().items()} if cfg.get("solver") == "watermarking" else model_state(3)
        folder = make_xp(**{"xp.cfg": OmegaConf.create(cfg), "history": history, "sample_processor": PROCESSOR,
                            "best_state": {"model": state}})
        manifest = export_xp(SIG, dora_dir, ExportOptions(version="1.3.0", **options)).manifest
        checkpoint = open_checkpoint(folder / "checkpoint.th")
        return manifest, checkpoint.config, checkpoint.history
    return make


def body(text):
    return ModelCard(text).text


def same_but_for(text, part):
    """A card without a part of it."""
    name = f"audiocraft-export: {part} -->"
    return re.sub(f"<!-- {name}.*?<!-- /{name}", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_has_a_card_that_says_what_it_is_and_code_that_parses(release, family):
    text = card(*release(CONFIGS[family]))
    assert SAYS[family] in text and f"`{SIG}`" in text and "sha" in text.lower()
    ast.parse(snippet_of(text))
    ast.parse(snippet_of(card(*release(CONFIGS[family]), repo="me/model")))
    data = ModelCard(text).data
    assert data.pipeline_tag == {"compression": "feature-extraction", "diffusion": "audio-to-audio", "mine": None,
                                 "nothing": None, "watermarking": "audio-to-audio"}.get(family, "text-to-audio")
    assert (data.library_name == "audiocraft") == (family not in ("mine", "nothing"))


@pytest.mark.parametrize(("architecture", "task"), [
    ("MusicgenForConditionalGeneration", "text-to-audio"), ("MusicgenMelodyForConditionalGeneration", "text-to-audio"),
    ("MusicgenForCausalLM", "audio-to-audio"), ("EncodecModel", "feature-extraction")])
def test_a_model_of_transformers_is_loaded_by_its_class(release, architecture, task):
    text = card(*release(), format="transformers", architecture=architecture)
    assert f'model = {architecture}.from_pretrained(".")' in snippet_of(text)
    ast.parse(snippet_of(text))
    data = ModelCard(text).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", task) and "musicgen" not in data.tags


def test_safetensors_are_loaded_as_they_are_and_brought_back(release):
    text = card(*release(), format="safetensors", repo="me/model")
    (first, loads), (shell, converts), (last, uses) = blocks_of(text)
    assert (first, shell, last) == ("python", "sh", "python")
    assert "load_file" in loads and "audiocraft-export convert release --to audiocraft" in converts
    assert 'MusicGen.get_pretrained("converted")' in uses
    assert "safetensors" in ModelCard(text).data.tags and "musicgen" not in ModelCard(text).data.tags


def test_the_code_of_a_general_model_loads_its_release(release, dora_dir, monkeypatch):
    text = card(*release(CONFIGS["mine"]))
    monkeypatch.chdir(dora_dir / "xps" / SIG / "export")
    names = {}
    exec(snippet_of(text), names)  # of this package
    assert list(names["state"]) == list(model_state())


def test_code_of_safetensors_loads_each_file(release, tmp_path, monkeypatch):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"a": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    safetensors.save_file({"b": torch.ones(3)}, tmp_path / "model-00002-of-00002.safetensors")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet_of(card(*release(), format="safetensors")), names)
    assert [list(state) for state in names["states"].values()] == [["a"], ["b"]]


@pytest.mark.parametrize(("conditioners", "call"), [
    ({}, "generate_unconditional(1)"), ({"genre": {"model": "lut"}}, 'generate(["happy rock"])'),
    ({"self_wav": {"model": "chroma_stem"}}, 'generate_with_chroma(["happy rock"], melody, model.sample_rate)')])
def test_a_language_model_is_asked_for_what_it_is_conditioned_on(release, conditioners, call):
    assert call in snippet_of(card(*release({**CONFIGS["musicgen"], "conditioners": conditioners})))


@pytest.mark.parametrize("solver", ["musicgen", "magnet", "jasco"])
def test_a_language_model_without_its_codec_is_not_said_to_generate(release, solver):
    text = card(*release(CONFIGS[solver], codec="none"))
    assert "get_pretrained" not in text and "none in this release" in text
    ast.parse(snippet_of(text))


def test_the_hub_reads_the_metrics_of_the_best_epoch(release):
    data = ModelCard(card(*release(), repo="me/model")).data
    assert data.model_name == "model"
    assert [(result.metric_type, result.metric_value, result.metric_name) for result in data.eval_results] == [
        ("ce", 2.5, "ce after epoch 3"), ("ppl", 9.0, "ppl after epoch 3")]
    assert not ModelCard(card(*release(weights="last"))).data.eval_results


def test_nobody_s_license_is_made_up(release):
    text = card(*release())
    assert ModelCard(text).data.license is None and "No license is stated" in text
    stated = card(*release(), former=text.replace("---\n", "---\nlicense: mit\n", 1))
    assert ModelCard(stated).data.license == "mit" and "No license is stated" not in stated


def test_the_first_the_best_and_the_last_epoch_stand_in_a_table(release):
    history = [{"valid": {"ce": value}} for value in (3.0, 1.0, 2.0)]
    text = card(*release(history=history))
    assert "| stage | metric | epoch 1 (first) | epoch 2 (best) | epoch 3 (last) |" in text
    assert "| `valid` | `ce` | 3 | 1 | 2 |" in text


@pytest.mark.parametrize("history", [[], [{}], [{"valid": {}}], [None, 3, "x"], [{"valid": {"ce": float("nan")}}],
                                     [{"valid": {"ce": 10 ** 400, "x": True}}], [{3: {4: 5}}, {"valid": [1]}]])
def test_a_history_of_nothing_has_neither_table_nor_picture(release, history):
    manifest, config, history = release(history=history)
    pictures = curves(history, manifest.best)
    text = card(manifest, config, history, curves=[*pictures])
    assert pictures == {} and "<picture>" not in text and "| stage |" not in text and "## Training" in text


def test_metrics_that_are_no_numbers_are_left_out_of_the_table(release):
    history = [{"valid": {"ce": float("nan"), "ok": 1.0}}, {"valid": {"ce": 2.0, "ok": float("inf"), "no": None}}]
    text = card(*release(history=history))
    assert "| `valid` | `ce` | – | 2 |" in text and "| `valid` | `ok` | 1 | – |" in text and "`no`" not in text
    assert "| nan" not in text and ".nan" not in text


def test_a_training_of_many_metrics_makes_no_long_table(release):
    text = card(*release(history=[{"train": {f"m{index}": 1.0 for index in range(900)}, "valid": {"ce": 1.0}}]))
    assert text.count("| `train` |") == 8 and "892 more of each epoch" in text and "| `valid` | `ce` | 1 |" in text


def test_bands_stand_in_a_table_with_their_epochs(release):
    manifest, config, _ = release(CONFIGS["diffusion"])
    bands = [{"sig": sig, "epoch": 4, "checkpoint": {"name": "checkpoint.th", "bytes": 9},
              "best": best_epoch([{"valid": {"loss": value}}], ["loss"])} for sig, value in [("aa", 0.5), ("bb", 0.25)]]
    text = card(replace(manifest, sig=None, bands=bands, best=None), config)
    assert "| 0 | `aa` | 4 | 1 | `loss` | 0.5 |" in text and "| 1 | `bb` | 4 | 1 | `loss` | 0.25 |" in text
    assert "| Bands | 2 |" in text and "| Experiment of band 1 | `bb` after 4 epochs" in text


def test_what_this_machine_says_is_not_in_the_card(release, monkeypatch):
    monkeypatch.setenv("SECRET_PLACE", "/home/me/secret")
    cfg = {**CONFIGS["musicgen"], "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
           "conditioners": {"description": {"model": "t5", "t5": {"name": "${oc.env:SECRET_PLACE}"}},
                            "other": {"model": "t5", "t5": {"name": "/home/me/t5"}}}}
    text = card(*release(cfg))
    assert "/home" not in text and "| Conditioning | `description` by `t5`, `other` by `t5` |" in text


def test_a_hostile_checkpoint_says_nothing_in_markdown_html_or_yaml(release):
    cfg = {"solver": HOSTILE, "sample_rate": HOSTILE, HOSTILE: HOSTILE}
    manifest, config, history = release(cfg, history=[{HOSTILE: {HOSTILE: 1.0}, "valid": {"ce": 1.0, HOSTILE: 2.0}}])
    manifest = replace(manifest, sig=HOSTILE, weights=HOSTILE, why=HOSTILE, warnings=[HOSTILE, HOSTILE * 500],
                       versions={HOSTILE: HOSTILE}, dtypes={HOSTILE: 1}, files=[WrittenFile(HOSTILE, 3, HOSTILE)],
                       checkpoint={"name": HOSTILE, "bytes": 1, "mtime_ns": 1}, codec={"pretrained": HOSTILE})
    for solver in (HOSTILE, "musicgen", "compression", "diffusion", "watermarking"):
        manifest = replace(manifest, solver=solver)
        text = card(manifest, config, history)
        assert "\x1b" not in text and "\u202e" not in text and "<b>" not in body(text) and "`x`" not in body(text)
        assert "](http://e" not in text and "$$" not in body(text) and "\n# z" not in text and len(text) < 30_000
        assert re.findall(r"<!-- /?audiocraft-export: (\w+) -->", text) == [
            name for part in ("model", "usage", "training", "provenance") for name in (part, part)]
        assert {line.count("|") for line in text.splitlines() if line.startswith("| <code>")} <= {3, 4, 5}
        ast.parse(snippet_of(text))
        assert card(manifest, config, history, former=text) == text


def test_a_hostile_name_is_text_once_it_is_rendered(release):
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    manifest, config, history = release({"solver": HOSTILE}, history=[{"valid": {"ce": 1.0, HOSTILE: 2.0}}])
    page = markdown.render(body(card(replace(manifest, warnings=[HOSTILE]), config, history)))
    assert "<b>" not in page and "<em>" not in page and "e.vil\"" not in page
    assert page.count("<h1>") == 1
    shown = ("`x` | &lt;b&gt;y&lt;/b&gt; &lt;!-- /audiocraft-export: training --&gt; \\n# z\\n--- "
             "[a](http://e.vil) $$1$$ *i* _j_")
    assert f"<td><code>valid</code></td>\n<td><code>{shown}" in page and f"<li>{shown}" in page


def test_the_same_release_has_the_same_card_and_pictures(release):
    manifest, config, history = release()
    assert card(manifest, config, history) == card(replace(manifest, time="2000-01-01T00:00:00+00:00"), config, history)
    assert curves(history, manifest.best) == curves(history, manifest.best)


def test_a_card_that_is_there_already_becomes_the_very_same_one(release):
    manifest, config, history = release()
    pictures = [LIGHT_FILE, DARK_FILE]
    first = card(manifest, config, history, curves=pictures)
    assert card(manifest, config, history, curves=pictures, former=first) == first
    other = card(manifest, config, history, format="safetensors", former=first)
    assert card(manifest, config, history, curves=pictures, former=other).splitlines()[9:] == first.splitlines()[9:]


def test_the_card_keeps_what_a_person_added(release):
    manifest, config, history = release()
    text = card(manifest, config, history)
    mark = "<!-- audiocraft-export: training -->"
    text = text.replace("# MusicGen\n", "# My model\n\nIt is *good*.\n").replace(mark, f"Made at night.\n\n{mark}")
    text += "\n## Thanks\n"
    text = text.replace("pipeline_tag: text-to-audio\n", "# mine\nlicense: cc-by-4.0  # ask me\npipeline_tag: other\n"
                        "language: [en, 'no']\n").replace("- audiocraft\n", "- first\n- audiocraft\n")
    for _ in range(2):
        text = card(replace(manifest, parameters=77), config, history[:1], former=text)
    data = ModelCard(text).data
    assert (data.license, data.pipeline_tag, data.language) == ("cc-by-4.0", "other", ["en", "no"])
    assert data.tags == ["first", "audiocraft", "musicgen", "music-generation"]
    assert "license: cc-by-4.0  # ask me\n" in text and "# mine\n" in text and "language: [en, 'no']\n" in text
    assert "# My model\n\nIt is *good*.\n" in text and text.endswith("\n## Thanks\n")
    assert text.count("Made at night.") == 1 and "| Size | 77 parameters" in text


def test_tags_that_a_person_deleted_stay_deleted_and_ours_are_brought_up_to_date(release):
    manifest, config, history = release()
    text = card(manifest, config, history).replace("- music-generation\n", "- mine\n")
    tags = ModelCard(card(manifest, config, history, format="safetensors", former=text)).data.tags
    assert tags == ["audiocraft", "mine", "safetensors"]


def test_keys_that_a_person_deleted_stay_deleted(release):
    manifest, config, history = release()
    text = re.sub(r"model-index:.*?---", "---", card(manifest, config, history), count=1, flags=re.DOTALL)
    text = text.replace("library_name: audiocraft\n", "")
    for _ in range(2):
        text = card(manifest, config, history, former=text)
    assert "model-index:" not in text and "library_name:" not in text and "pipeline_tag:" in text


def test_results_that_a_person_added_stay_and_ours_are_renewed(release):
    manifest, config, history = release()
    mine = ("  - task: {type: text-to-audio}\n    dataset: {name: MusicCaps, type: google/MusicCaps}\n"
            "    metrics:\n    - {type: fad, value: 1.5}\n")
    text = card(manifest, config, history).replace("  results:\n", "  results:\n" + mine)
    better = replace(manifest, best=best_epoch([{"valid": {"ce": 0.5}}], ["ce"]))
    for _ in range(2):
        text = card(better, config, history, former=text)
    assert [(result.metric_type, result.metric_value) for result in ModelCard(text).data.eval_results] == [
        ("fad", 1.5), ("ce", 0.5)]


def test_a_part_that_a_person_deleted_stays_deleted_unless_all_are(release):
    manifest, config, history = release()
    text = same_but_for(card(manifest, config, history), "training")
    again = card(manifest, config, history, former=text)
    assert again == text and "## Training" not in again and "## Provenance" in again
    for part in ("model", "usage", "provenance"):
        text = same_but_for(text, part)
    assert "## Training" in card(manifest, config, history, former=text)


def test_a_readme_of_somebody_keeps_its_text_and_gets_ours_below(release):
    manifest, config, history = release()
    text = card(manifest, config, history, former="---\nlicense: mit\nlibrary_name: theirs\n---\n# Theirs\n\nText.\n")
    assert text.startswith("---\nlicense: mit\nlibrary_name: theirs\npipeline_tag: text-to-audio\n")
    assert "\n# Theirs\n\nText.\n\n<!-- audiocraft-export" in text and "# MusicGen" not in text
    assert card(manifest, config, history, former=text) == text
    assert "\n\nText only.\n\n<!--" in card(manifest, config, history, former="Text only.")


def test_a_file_with_the_ends_of_lines_of_windows_keeps_them(release):
    manifest, config, history = release()
    former = "---\r\nlicense: mit\r\n---\r\n\r\n# Theirs\r\n"
    for _ in range(2):
        former = card(manifest, config, history, former=former)
    assert former.count("\n") == former.count("\r\n") > 40 and ModelCard(former).data.license == "mit"
    plain = card(manifest, config, history, former="---\nlicense: mit\n---\n\n# Theirs\n")
    assert former.replace("\r\n", "\n") == plain
    assert card(manifest, config, history, former="\ufeff" + former) == former


@pytest.mark.parametrize(("former", "says"), [
    ("---\na: [\n---\n", "is no YAML"), ("---\n- a\n---\n", "is no mapping"),
    ("---\njust text\n---\n", "is no mapping"),
    ("---\na: &x [1]\nb: *x\n---\n", "has aliases"), ("---\n" + "[" * 1200 + "\n---\n", "is no YAML"),
    ("---\nok: 1\n? [x, y]\n: z\n---\n", r"is no YAML \(line 3: found unhashable key\)"),
    ("---\na: !!python/name:os.system x\n---\n", "is no YAML"),
    ("<!-- audiocraft-export: model -->\ntext\n", "without the mark that belongs to it"),
    ("<!-- /audiocraft-export: model -->\n<!-- audiocraft-export: model -->", "without the mark"),
    ("<!-- audiocraft-export: a -->\n<!-- audiocraft-export: b -->\n<!-- /audiocraft-export: b -->", "the mark")])
def test_a_card_that_cannot_be_kept_is_refused_in_one_sentence(release, former, says):
    with pytest.raises(ReleaseError, match=says) as error:
        card(*release(), former=former)
    assert "README.md" in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("top", ["{license: mit, a: 1}\n", "# only a comment\n", "", "a: |\n  x\n\n  y\nb: 2\n",
                                 "1: a\n2024-01-01: b\nnull: c\nempty:\n", "tags: music\n", "tags:\n", "a: 1\na: 2\n",
                                 "model-index: x\n", "tags: {a: 1}\n", "a: .nan\n",
                                 "model-index:\n- name: x\n", "model-index:\n- 3\n", "é: ü\n", "a: 1"])
def test_any_yaml_of_a_person_says_the_same_afterwards(release, top):
    yaml = pytest.importorskip("yaml")
    manifest, config, history = release()
    before = f"---\n{top}\n---\n" if top == "a: 1" else f"---\n{top}---\n"
    text = card(manifest, config, history, former=before)
    assert card(manifest, config, history, former=text) == text
    theirs, ours = (yaml.safe_load(each.split("---\n")[1]) or {} for each in (before, text))
    assert {key: repr(ours[key]) for key in theirs if key not in ("tags", "model-index")} == {
        key: repr(value) for key, value in theirs.items() if key not in ("tags", "model-index")}
    assert ours["library_name"] == "audiocraft" and ("music" in str(ours["tags"])) == (top != "tags: {a: 1}\n")


def test_the_picture_is_drawn_for_a_light_and_a_dark_page(release):
    image = pytest.importorskip("PIL.Image")
    manifest, config, history = release()
    pictures = curves(history, manifest.best)
    assert set(pictures) == {LIGHT_FILE, DARK_FILE} and pictures[LIGHT_FILE] != pictures[DARK_FILE]
    corners = []
    for data in pictures.values():
        assert data.startswith(b"\x89PNG\r\n\x1a\n") and b"matplotlib" not in data.lower() and len(data) < 200_000
        with image.open(BytesIO(data)) as picture:
            assert picture.size == (1152, 544) and len(picture.convert("RGB").getcolors(1 << 20)) > 50
            corners.append(picture.convert("L").getpixel((0, 0)))
    assert corners[0] > 250 and corners[1] < 30
    text = card(manifest, config, history, curves=[*pictures])
    assert f'(prefers-color-scheme: dark)" srcset="{DARK_FILE}"' in text and f'src="{LIGHT_FILE}"' in text
    remote = card(manifest, config, history, curves=[*pictures], repo="me/model")
    assert f'srcset="https://huggingface.co/me/model/resolve/main/{DARK_FILE}"' in remote


@pytest.mark.parametrize("history", [
    [{"_tr$ain": {"c$e_^{\x1b}é\u202e" * 9: 1.0}}], [{"valid": {"ce": value}} for value in (-1.7e308, 1.7e308, 0.0)],
    [{"valid": {"ce": value}} for value in (1e-300, 1e300)], [{"valid": {"ce": 0.0}}] * 5000,
    [{f"s{index}": {"ce": 1.0}} for index in range(500)], [{"valid": {"$": 1.0, " ": 2.0}}] * 2])
def test_the_picture_is_drawn_of_any_numbers_under_any_names(history, recwarn):
    pictures = curves(history)
    assert len(pictures) == 2 and not [str(warning.message) for warning in recwarn]


def test_the_picture_follows_no_settings_of_the_user_and_leaves_none(release):
    import matplotlib
    manifest, _, history = release()
    expected = curves(history, manifest.best)
    with matplotlib.rc_context({"lines.linewidth": 9, "figure.dpi": 30, "text.usetex": True}):
        assert curves(history, manifest.best) == expected
        assert matplotlib.rcParams["figure.dpi"] == 30

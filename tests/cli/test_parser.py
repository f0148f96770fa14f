"""The help of the command and its verbs, and the answers to wrong usage."""

import json
import re

import pytest

from audiocraft_export.cli.main import _build_parser
from audiocraft_export.cli.parser import Parser, commands
from audiocraft_export.cli.verbs import inspect
from audiocraft_export.errors import OptionError

from .commands import command


@pytest.mark.parametrize("argv", [[], ["run"], ["list"], ["inspect"], ["compare"], ["verify"]])
def test_help_has_examples_and_fits_80_columns(monkeypatch, tmp_path, argv):
    monkeypatch.setenv("COLUMNS", "80")
    text = command(*argv, "--help", cwd=tmp_path).stdout
    examples = text.partition("\nexamples")[2].splitlines()
    assert len([line for line in examples if line.startswith(f"  {' '.join(['audiocraft-export', *argv])}")]) >= 4
    assert max(map(len, text.splitlines())) <= 80


def test_the_home_folder_is_expanded_in_each_option_that_takes_a_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    takes_path = {"DIR", "FILE", "FOLDER", "SIG|PATH"}
    found = {(verb, action.option_strings[-1]): action.type("~/there")
             for verb, parser in commands(_build_parser()).items() for action in parser._actions
             if action.option_strings and (action.metavar in takes_path or action.dest == "sign")}
    assert len(found) > 12 and {*found.values()} == {str(tmp_path / "there")}


@pytest.mark.parametrize("verb", ["convert", "explain"])
def test_the_help_of_short_commands_fits_80_columns(monkeypatch, tmp_path, verb):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, command(verb, "--help", cwd=tmp_path).stdout.splitlines())) <= 80


def test_wrong_usage_is_an_error_with_a_hint():
    parser = Parser(prog="command")
    parser.add_subparsers().add_parser("do").add_argument("--number", type=int)
    assert _build_parser().parse_args(["inspect", "x"]).verb is inspect.execute
    with pytest.raises(OptionError) as error:
        parser.parse_args(["do", "--number", "x\n"])
    assert error.value.code == "invalid-arguments" and error.value.hint == "see command do --help"


def refused(cwd, *argv):
    """Run a command that is wrong usage, and return its error without the code, and its hint."""
    error, hint = command(*argv, cwd=cwd, code=2).stderr.splitlines()
    return error.partition("]: ")[2], hint.replace("  hint: ", "", 1)


def test_without_arguments_the_short_help_is_shown_with_three_examples(tmp_path):
    result = command(cwd=tmp_path, code=2)
    lines = result.stderr.splitlines()
    assert result.stdout == "" and len(lines) < 24 and max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if re.match(r"  \w+  ", line)] == [*commands(_build_parser())]
    assert len([line for line in lines if line.startswith("  audiocraft-export ")]) == 3
    assert lines[-1] == "audiocraft-export help COMMAND shows all options of a command."


@pytest.mark.parametrize(("argv", "same"), [
    (["help"], ["--help"]), (["help", "run"], ["run", "--help"]), (["help", "export"], ["run", "--help"]),
    (["export", "-h"], ["run", "-h"]), (["ls", "-h"], ["list", "-h"]), (["show", "-h"], ["inspect", "-h"]),
    (["-V"], ["--version"])])
def test_other_names_of_the_same_command(tmp_path, argv, same):
    assert command(*argv, cwd=tmp_path).stdout == command(*same, cwd=tmp_path).stdout != ""


@pytest.mark.parametrize("target", ["97d170e1", "97d1", "outputs/xps/97d170e1", "checkpoint.th", "."])
def test_a_target_without_a_command_gets_the_commands_that_take_it(tmp_path, target):
    for argv in ([target], [target, "--weights", "ema"], ["help", target]):
        assert refused(tmp_path, *argv) == (
            f"{target} is not a command, but a target",
            f"did you mean audiocraft-export run {target} or audiocraft-export inspect {target}?")


def test_a_release_without_a_command_gets_the_commands_that_take_it(make_xp, tmp_path):
    make_xp()
    command("run", "0123", "--folder", "a release", cwd=tmp_path)
    for target in ("a release", "a release/state_dict.bin"):
        assert refused(tmp_path, target)[1] == (f"did you mean audiocraft-export verify '{target}' or "
                                                f"audiocraft-export inspect '{target}'?")


@pytest.mark.parametrize("flags", [["--json"], ["--dora-dir", "elsewhere"], ["--dora-dir=elsewhere"], ["-v"]])
def test_flags_of_all_commands_may_stand_before_the_command_or_after_it(make_xp, tmp_path, dora_dir, flags):
    make_xp()
    dora_dir.rename(tmp_path / "elsewhere")
    where = [] if "elsewhere" in flags[-1] else ["--dora-dir", "elsewhere"]
    for argv in (["list"], ["run", "0123", "--dry-run"]):
        before, after = (command(*line, cwd=tmp_path) for line in ([*where, *flags, *argv], [*argv, *flags, *where]))
        assert re.sub(r"\d+ s$", "", before.stdout) == re.sub(r"\d+ s$", "", after.stdout)
        assert before.stderr == after.stderr and "0123" in before.stdout


@pytest.mark.parametrize(("line", "error", "hint"), [
    ("list --srt age", "unknown option '--srt' for 'list'", "did you mean --sort?"),
    ("ls --srt=age", "unknown option '--srt' for 'list'", "did you mean --sort?"),
    ("convert 97d1 --tp safetensors", "unknown option '--tp' for 'convert'", "did you mean --to?"),
    ("run 97d1 -o x", "unknown option '-o' for 'run'", "did you mean --folder?"),
    ("run 97d1 -f x", "unknown option '-f' for 'run'", "did you mean --force or --folder?"),
    ("run 97d1 --hub a/b", "unknown option '--hub' for 'run'", "did you mean --push-to-hub?"),
    ("run 97d1 -weights ema", "unknown option '-weights' for 'run'", "did you mean --weights?"),
    ("run 97d1 --bogus", "unknown option '--bogus' for 'run'", "see audiocraft-export run --help"),
    ("inspect 97d1 --weights ema", "unknown option '--weights' for 'inspect'", "it is an option of run"),
    ("--weights ema run 97d1", "unknown option '--weights'", "it is an option of run: write it after the command"),
    ("--jsno list", "unknown option '--jsno'", "did you mean --json?"),
    ("verify --version", "unknown option '--version' for 'verify'", "did you mean audiocraft-export --version?"),
    ("run --dtype", "--dtype requires a value: float32, float16 or bfloat16", "see audiocraft-export run --help"),
    ("run --folder --all", "--folder requires a value", "see audiocraft-export run --help"),
    ("convert 97d1 --to", "--to requires a value: audiocraft or safetensors", "see audiocraft-export convert --help"),
    ("convert 97d1 --to safetensor", "invalid value 'safetensor' for --to: expected audiocraft or safetensors",
     "did you mean safetensors?"),
    ("run 97d1 --dtype fp16", "Invalid value 'fp16' for dtype: expected float32, float16 or bfloat16",
     "did you mean 'float16'?"),
    ("run 97d1 --verify laod", "Invalid value 'laod' for verify: expected bytes, cache, load or none",
     "did you mean 'load'?"),
    ("run 97d1 --folder=", "Invalid value '' for folder: expected a non-empty string", ""),
    ("verfy", "unknown command 'verfy'", "did you mean verify?"), ("xprt 97d1", "unknown command 'xprt'",
                                                                   "did you mean export?")])
def test_wrong_usage_gets_the_closest_command_option_or_value(tmp_path, line, error, hint):
    said = command(*line.split(), cwd=tmp_path, code=2).stderr.splitlines()
    assert said[0].endswith(f"]: {error}") and said[1:] == ([f"  hint: {hint}"] if hint else [])


def test_wrong_usage_is_an_error_in_json_too(tmp_path):
    for argv in (["--json", "97d170e1"], ["run", "97d170e1", "--bogus", "--json"]):
        assert json.loads(command(*argv, cwd=tmp_path, code=2).stdout)["error"]["code"] in (
            "invalid-arguments", "unknown-option")

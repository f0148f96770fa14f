"""Trainings with `exporter.sign`, as a user runs them."""

import os
import pty
import sys
from contextlib import suppress
from textwrap import dedent

import pytest
from helpers import clean, command, dora, last_sentence, only_xp, run_python
from signing.signers import write_keys

from audiocraft_export import verify
from audiocraft_export.signing.keys import PASSPHRASE


def train(root, *argv, **env):
    return dora("run", "export=true", *argv, cwd=root, package="audiocraft_export.demo", **env)


def test_a_training_signs_its_release_and_stores_neither_key_nor_path_nor_passphrase(tmp_path):
    private, public = write_keys(tmp_path / "hidden-folder", passphrase="open sesame")
    result = train(tmp_path, f"exporter.sign={os.path.relpath(private, tmp_path)}", "exporter.attest=true",
                   "exporter.when=best", **{PASSPHRASE: "open sesame"})
    assert result.returncode == 0 and ", signed" in result.stderr + result.stdout
    folder = only_xp(tmp_path)
    assert verify(folder / "export", key=public).ok
    for path in (each for each in (tmp_path / "outputs").rglob("*") if each.is_file()):
        assert not any(secret in path.read_bytes() for secret in (b"hidden-folder", b"open sesame")), path
    assert "hidden-folder" not in result.stdout + result.stderr and "open sesame" not in result.stdout + result.stderr


def test_a_notebook_signs_its_release_and_stores_no_path_of_the_key(tmp_path):
    private, public = write_keys(tmp_path / "hidden-folder")
    relative = private.relative_to(tmp_path)
    script = f"""
        import os
        from audiocraft_export.demo.solver import DemoSolver
        from audiocraft_export.demo.train import main
        xp = main.get_xp(["optim.epochs=2", "export=true", "exporter.sign={relative}", "exporter.attest=true"])
        main.init_xp(xp)
        with xp.enter():
            solver = DemoSolver(xp.cfg)
            os.chdir("/")
            solver.run()
        """
    result = run_python("-c", dedent(script), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = only_xp(tmp_path)
    assert verify(folder / "export", key=public).ok
    for path in (each for each in (tmp_path / "outputs").rglob("*") if each.is_file()):
        assert b"hidden-folder" not in path.read_bytes(), path


def test_a_notebook_may_set_the_key_in_the_configuration(tmp_path):
    private, public = write_keys(tmp_path)
    script = f"""
        from audiocraft_export.demo.solver import DemoSolver
        from audiocraft_export.demo.train import main
        xp = main.get_xp(["optim.epochs=1", "export=true"])
        main.init_xp(xp)
        xp.cfg.exporter.sign = "{private}"
        with xp.enter():
            DemoSolver(xp.cfg).run()
        """
    result = run_python("-c", dedent(script), cwd=tmp_path)
    assert result.returncode == 0 and verify(only_xp(tmp_path) / "export", key=public).ok, result.stderr


def test_on_a_terminal_the_command_asks_once_and_its_workers_know_the_passphrase(make_xp, tmp_path):
    private, public = write_keys(tmp_path / "keys", passphrase="open sesame")
    for sig in ("11111111", "22222222"):
        make_xp(sig)
    process, terminal = pty.fork()
    if not process:
        os.chdir(tmp_path)
        words = ["-m", "audiocraft_export", "run", "--all", "--jobs", "2", "--sign", str(private)]
        os.execve(sys.executable, [sys.executable, *words], clean({PASSPHRASE: ""}))
    shown = b""
    with suppress(OSError):  # On Linux, the end of the other process.
        while data := os.read(terminal, 1 << 16):
            if b"Passphrase of" in data:
                os.write(terminal, b"open sesame\n")
            shown += data
    assert os.waitpid(process, 0)[1] == 0, shown
    assert shown.count(b"Passphrase of") == 1 and b"sesame" not in shown
    for sig in ("11111111", "22222222"):
        assert verify(tmp_path / "outputs" / "xps" / sig / "export", key=public).ok


def test_a_key_that_cannot_be_read_is_found_before_the_training(tmp_path):
    private, _ = write_keys(tmp_path, passphrase="open sesame")
    result = train(tmp_path, f"exporter.sign={private}")
    assert PASSPHRASE in last_sentence(result) and "Epoch 1" not in result.stdout + result.stderr


@pytest.mark.parametrize("change", [str, lambda key: "".join(key.splitlines()[1:-1]), lambda key: f"'{key}"],
                         ids=["pem", "base64", "quote"])
def test_a_key_that_is_given_instead_of_its_path_is_not_shown(tmp_path, change):
    key = write_keys(tmp_path)[0].read_text()
    result = train(tmp_path, f"exporter.sign={change(key)}")
    said = result.stdout + result.stderr
    assert result.returncode and "Epoch 1" not in said and not any(line in said for line in key.splitlines()[1:])


def test_after_a_failed_export_the_offered_command_does_not_show_the_key(tmp_path):
    private, public = write_keys(tmp_path / "hidden-folder")
    result = train(tmp_path, f"exporter.sign={private}", "exporter.weights=model.x", "optim.epochs=1",
                   "exporter.attest=true")
    said = last_sentence(result)
    assert "add --sign and --attest to sign it" in said and "hidden-folder" not in result.stdout + result.stderr
    words = said[said.index("audiocraft-export run"):].rstrip(".").split()[1:]
    assert command(*words, "--sign", private, cwd=tmp_path).returncode == 0
    assert verify(only_xp(tmp_path) / "export", key=public).ok

"""Many jobs: their results in order, the table at the end, an interruption."""

import re
import threading
import time
from contextlib import closing
from functools import partial

from helpers import on_terminal

from audiocraft_export import export_xp
from audiocraft_export.cli.runner import run_in_order
from audiocraft_export.jobs.local import run_in_workers

from .commands import command


def test_a_run_of_many_ends_with_a_table(train, tmp_path, dora_dir):
    train("11111111", [], [1., 2.])
    train("22222222", [], [1.], best_state=...)
    train("33333333", [], [1.])
    export_xp("11111111", dora_dir)
    argv = ["run", "11111111", "22222222", "33333333"]
    result = command(*argv, cwd=tmp_path, code=1)
    head, *rows = result.stdout.partition("\n\n")[2].splitlines()
    assert head.split() == ["xp", "result", "weights", "epochs", "bytes", "where,", "or", "why", "not"]
    assert [row.split("  ")[:2] for row in rows] == [
        ["11111111", "already exported"], ["22222222", "failed"], ["33333333", "exported"]]
    assert rows[0].split("best_state")[1].split()[0] == "2" and rows[0].endswith(str(dora_dir / "xps/11111111/export"))
    assert rows[1].endswith("use weights=last or weights=ema.")
    assert len(command(*argv, "--json", cwd=tmp_path, code=1).stdout.splitlines()) == 3
    assert len(command("run", "11111111", cwd=tmp_path).stdout.splitlines()) == 1
    for columns in (40, 80):
        shown = on_terminal("-m", "audiocraft_export", "run", "11111111", "33333333", cwd=tmp_path, columns=columns)
        table = [line for line in shown.replace("\r", "").splitlines() if "already exported" in line][-1]
        assert len(re.sub("\x1b[^m]*m", "", table).rstrip()) <= columns


def test_a_stopped_run_of_many_says_what_it_has_done(train, tmp_path, monkeypatch):
    for sig in ("11111111", "22222222", "33333333"):
        train(sig, [], [1.])
    from audiocraft_export.pipeline import export as pipeline
    export, left = pipeline.export, iter([None])

    def interrupted(*args, **options):
        for _ in left:
            return export(*args, **options)
        raise KeyboardInterrupt
    monkeypatch.setattr(pipeline, "export", interrupted)
    result = command("run", "11111111", "22222222", "33333333", "nowhere", cwd=tmp_path, code=130)
    assert result.stdout.splitlines()[-2].startswith("11111111  exported")
    assert "No XP 'nowhere'" in result.stderr
    assert result.stderr.endswith("1 of 4 exported; failed: nowhere; stopped before the other 2.\n")


def test_what_several_processes_have_finished_is_known_though_the_first_goes_on(tmp_path):
    wait = partial(exec, f"import os, time\nwhile not os.path.exists({str(tmp_path / 'end')!r}): time.sleep(0.01)")
    done, jobs = {}, [wait, partial(int, "7"), partial(int, "8")]
    with closing(run_in_order(jobs, partial(run_in_workers, 2), done)) as numbers:
        thread = threading.Thread(target=lambda: [None for _ in numbers], daemon=True)
        thread.start()
        while len(done) < 2 and thread.is_alive():
            time.sleep(0.01)
        assert done == {1: 7, 2: 8}
        (tmp_path / "end").touch()
        thread.join()
    assert list(done.values())[-1] is None


def test_warnings_are_said_without_an_export_too(train, tmp_path, caplog):
    (train("11111111", [], [1.]) / "history.json").write_text('[{}, {}]')
    command("run", "--all", "--dry-run", cwd=tmp_path)
    assert "the later ones were not stored" in caplog.text

"""Run many jobs: results in order, the summary, an interrupt."""

import threading
import time
from contextlib import closing
from functools import partial

from audiocraft_export import export_xp
from audiocraft_export.cli.runner import run_in_order
from audiocraft_export.jobs.local import run_in_workers

from .commands import command


def test_a_run_of_many_has_a_line_for_each_and_a_summary(train, tmp_path, dora_dir):
    train("11111111", [], [1., 2.])
    train("22222222", [], [1.], best_state=...)
    train("33333333", [], [1.])
    export_xp("11111111", dora_dir)
    argv = ["run", "11111111", "22222222", "33333333"]
    result = command(*argv, cwd=tmp_path, code=1)
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "11111111 already exported", "33333333 exported"]
    assert result.stderr.splitlines()[-1] == "3 XPs: 1 exported, 1 up to date, 1 failed"
    assert len(command(*argv, "--json", cwd=tmp_path, code=1).stdout.splitlines()) == 3
    alone = command("run", "11111111", cwd=tmp_path)
    assert len(alone.stdout.splitlines()) == 1 and not alone.stderr


def test_an_error_of_one_of_several_names_its_target_and_is_whole(train, tmp_path):
    train("11111111", [], [1.])
    path = train("22222222", [], [1.], best_state=...) / "checkpoint.th"
    message = command("run", "22222222", cwd=tmp_path, code=1).stderr.splitlines()[0].partition(": ")[2]
    assert message.startswith(f"{path} has no best_state; ")
    for argv in (["11111111", "22222222"], ["--all"]):
        error, hint, _ = command("run", *argv, cwd=tmp_path, code=1).stderr.splitlines()
        assert error == f"error[missing-weights]: 22222222: {message}" and hint.startswith("  hint: ")


def test_an_interrupted_batch_prints_its_finished_exports(train, tmp_path, monkeypatch):
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
    assert result.stdout.splitlines()[-1].startswith("11111111 exported: ")
    assert "No XP 'nowhere'" in result.stderr
    assert result.stderr.endswith("4 XPs: 1 exported, 1 failed, 2 not finished\n")


def test_finished_jobs_are_known_while_the_first_one_runs(tmp_path):
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


def test_warnings_are_reported_without_an_export_as_well(train, tmp_path, caplog):
    (train("11111111", [], [1.]) / "history.json").write_text('[{}, {}]')
    command("run", "--all", "--dry-run", cwd=tmp_path)
    assert "the later epochs were not stored" in caplog.text

"""What makes an export fast must not make it careless: threads, processes, progress, casts piece by piece."""

import errno
import gc
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from helpers import SIG, load, on_terminal

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp, progress
from audiocraft_export.checkpoint.unpickler import unpickle
from audiocraft_export.cli import main as cli
from audiocraft_export.formats.audiocraft import pickler
from audiocraft_export.storage.durable_file import open_durable
from audiocraft_export.storage.threads import background, map_two

LARGE = {"model": {"w": torch.randn(1 << 20), "v": torch.randn(3, 5), "steps": torch.tensor(3)}}


def python(*argv, cwd):
    return subprocess.run([sys.executable, *argv], cwd=cwd, text=True, capture_output=True, timeout=120)


def flip(path, tensor):
    """Change one bit of a tensor in a file."""
    data = bytearray(path.read_bytes())
    at = bytes(data).index(tensor.numpy().tobytes()[-64:])
    data[at] ^= 1
    path.write_bytes(data)


# Threads

def test_what_is_done_beside_is_done_in_order_and_all_of_it():
    done = []
    with background(done.append) as take:
        for number in range(100):
            take(number)
    assert done == list(range(100))


def test_an_error_of_what_is_done_beside_is_raised_here():
    with pytest.raises(ZeroDivisionError), background(lambda number: 1 // number) as take:
        for number in (1, 0, 1, 1):
            take(number)
    with pytest.raises(ZeroDivisionError):
        map_two(lambda number: 1 // number, [1, 0], print)


INTERRUPTED = """
    import faulthandler, random, signal, time
    from audiocraft_export.storage.threads import background, map_two
    faulthandler.dump_traceback_later(60, exit=True)
    def stop(*_): raise SystemExit
    signal.signal(signal.SIGALRM, stop)
    stopped = 0
    while stopped < 1000:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3), 0.1)  # again: a destructor swallows one
            {work}
        except SystemExit:
            stopped += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("all of them")
"""


@pytest.mark.parametrize("work", [
    "with background(len) as take: [take(b'') for _ in iter(int, 1)]",
    "[map_two(time.sleep, [0, 1e-6, 0, 0], str) for _ in iter(int, 1)]"], ids=["background", "two threads"])
def test_a_signal_at_any_step_of_the_work_of_two_threads_ends_it(tmp_path, work):
    result = python("-c", dedent(INTERRUPTED).format(work=work), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "all of them\n"), result.stderr


def test_a_second_signal_does_not_cut_short_what_the_first_has_begun(tmp_path):
    code = ("import os, signal\nfrom audiocraft_export.signals import exit_on_sigterm\n"
            "with exit_on_sigterm():\n    try: os.kill(os.getpid(), signal.SIGTERM)\n"
            "    finally:\n        [os.kill(os.getpid(), n) for n in (15, 1, 15)]; print('put away')")
    result = python("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (143, "put away\n")


def test_a_system_that_takes_no_advice_gets_none(make_xp, dora_dir, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    make_xp(best_state={"model": {"w": torch.zeros(3 << 20)}})
    assert export_xp(SIG, dora_dir).written


def test_no_file_stays_open_where_garbage_is_not_collected(make_xp, dora_dir):
    make_xp()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    gc.disable()
    try:
        for weights in ("best", "last", "best"):
            export_xp(SIG, dora_dir, ExportOptions(weights=weights))
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_a_file_is_hashed_as_it_lies_on_the_disk(tmp_path):
    pieces = [os.urandom(size) for size in (1, 1 << 16, 3, (1 << 18) + 1, 0, 70_000, 5)]
    with open_durable(tmp_path / "file") as file:
        for piece in pieces:
            file.write(piece)
    written = (tmp_path / "file").read_bytes()
    assert written == b"".join(pieces) and file.nbytes == len(written)
    assert file.sha256 == hashlib.sha256(written).hexdigest()


def test_an_export_works_while_the_process_ends(make_xp, tmp_path):
    folder = make_xp()
    code = f"import atexit, audiocraft_export as a; atexit.register(a.export_xp, {SIG!r}, 'outputs')"
    result = python("-c", code, cwd=tmp_path)
    assert result.returncode == 0 and not result.stderr
    assert json.loads((folder / "export" / "export.json").read_text())["sig"] == SIG


# One pass over the bytes

@pytest.mark.parametrize("verify", ["bytes", "none"])
@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}], ids=str)
def test_damage_in_the_checkpoint_is_named_as_that_and_nothing_is_left(make_xp, dora_dir, verify, options):
    folder = make_xp(best_state=LARGE)
    flip(folder / "checkpoint.th", LARGE["model"]["w"])
    with pytest.raises(ExportError, match=r"checkpoint.th: record data/\d+ is damaged"):
        export_xp(SIG, dora_dir, ExportOptions(verify=verify, **options))
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.th"]


def test_damage_that_makes_numbers_too_large_is_named_as_damage(make_xp, dora_dir):
    folder = make_xp(best_state=LARGE)
    data = bytearray((folder / "checkpoint.th").read_bytes())
    at = bytes(data).index(LARGE["model"]["w"].numpy().tobytes()[:64])
    data[at + 3] = 0x7E
    (folder / "checkpoint.th").write_bytes(data)
    with pytest.raises(ExportError, match="is damaged"):
        export_xp(SIG, dora_dir, ExportOptions(dtype="float16"))


@pytest.mark.parametrize("large", [0, 1 << 30], ids=["two threads", "one thread"])
def test_every_record_is_read_back(make_xp, dora_dir, monkeypatch, large):
    monkeypatch.setattr(pickler, "_LARGE", large)
    make_xp(best_state=LARGE)
    fsync = os.fsync

    def damage(descriptor):
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "state_dict.bin":
            flip(path, LARGE["model"]["v"])
    monkeypatch.setattr(os, "fsync", damage)
    with pytest.raises(ExportError, match="does not read back"):
        export_xp(SIG, dora_dir)


# Casts

@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("stored", [torch.float32, torch.float64, torch.bfloat16])
def test_a_cast_in_pieces_is_the_cast_of_the_whole(make_xp, dora_dir, stored, dtype):
    whole = torch.randn(300_001).to(stored)
    tensors = {"w": whole, "t": whole[:90_000].view(300, 300).t(), "part": whole[7:200_000]}
    make_xp(best_state={"model": tensors})
    found = load(export_xp(SIG, dora_dir, ExportOptions(dtype=dtype)).files[0])["best_state"]
    assert all(found[name].equal(tensor.to(getattr(torch, dtype))) for name, tensor in tensors.items())


@pytest.mark.parametrize("size", [1, 100_003], ids=["one", "many"])
def test_a_cast_gives_nan_the_same_bits_on_every_processor(make_xp, dora_dir, size):
    make_xp(best_state={"model": {"w": torch.full((size,), torch.nan)}})
    found = load(export_xp(SIG, dora_dir, ExportOptions(dtype="bfloat16")).files[0])["best_state"]["w"]
    assert found.view(torch.int16).eq(0x7FC0).all()


# Memory

@pytest.mark.parametrize("options", ["", "dtype='float16'"], ids=["as stored", "cast"])
def test_memory_does_not_grow_with_the_weights(make_xp, tmp_path, options):
    code = ("import sys, torch, audiocraft_export.pipeline.export, numpy; from audiocraft_export import *\n"
            "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
            "before = peak()\n"  # ru_maxrss begins with the peak of the process that started this one
            f"export_xp(sys.argv[1], 'outputs', ExportOptions({options}))\n"
            "print((peak() - before) // 1024)")
    make_xp("11111111", best_state={"model": {"w": torch.zeros(100 << 18)}})  # 100 MiB
    assert int(python("-c", code, "11111111", cwd=tmp_path).stdout) < 48


# Pickles

@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"\x80\x02N", b"\x80\x02N.N", b"\x80\x02\xff.", b"\x80\x02J\x00."])
def test_a_pickle_that_ends_too_early_or_too_late_or_is_none_is_refused(data):
    with pytest.raises(ExportError, match="damaged, or not written by torch.save"):
        unpickle(data, {}.__getitem__, "x.th")


# Many at once

def many(make_xp, count=3):
    sigs = [str(number) * 8 for number in range(1, count + 1)]
    for sig in sigs:
        make_xp(sig)
    return sigs


def test_several_processes_make_what_one_makes(make_xp, tmp_path):
    sigs = many(make_xp)
    reports = []
    for jobs in ("1", "3"):
        folder = tmp_path / jobs
        result = python("-m", "audiocraft_export", "run", *sigs, "99999999", "--jobs", jobs, "--json",
                     "--folder", str(folder), cwd=tmp_path)
        assert result.returncode == 1 and "3 of 4 exported; failed: 99999999" in result.stderr
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        reports.append([(line["target"], line.get("files"), line.get("error")) for line in lines])
    assert reports[0] == reports[1] and [report[0] for report in reports[0]] == [*sigs, "99999999"]


def test_warnings_of_other_processes_come_to_the_log_of_the_first(make_xp, tmp_path):
    for sig in many(make_xp, 2):
        make_xp(sig, history=[])
    result = python("-m", "audiocraft_export", "run", "11111111", "22222222", "--jobs", "2", cwd=tmp_path)
    assert result.returncode == 0
    for sig in ("11111111", "22222222"):
        assert f"WARNING: {sig}: no epoch was finished when this state was stored" in result.stderr


def stages(root):
    """The folders in which exports are being made; no look into them, as they vanish."""
    return list(root.glob("outputs/xps/*/.export-*"))


def interrupted(make_xp, tmp_path, *more):
    """Two exports that stand still in the middle of their work, and the processes that do it: until `go_on`."""
    for sig in ("11111111", "22222222"):
        make_xp(sig, best_state={"model": {f"w{index}": torch.zeros(1 << 20) for index in range(20)}})
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-m", "audiocraft_export", "run", "11111111", "22222222", *more,
                                    "--jobs", "2"], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        while process.poll() is None and len(stages(tmp_path)) < 2:
            time.sleep(0.001)
        workers = {int(path.name.split("-")[2]) for path in stages(tmp_path)}
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
        while not all(stands_still(worker) for worker in workers):
            time.sleep(0.001)
        if len(stages(tmp_path)) == len(workers) == 2:
            return process, workers
        with suppress(ProcessLookupError):  # too late: one has finished
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        for folder in [*tmp_path.glob("outputs/xps/*/export"), *stages(tmp_path)]:
            shutil.rmtree(folder)
    raise AssertionError("These exports are finished too soon.")


def stands_still(worker):
    """Whether a process is stopped, or is no more."""
    try:
        return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def go_on(process):
    os.killpg(process.pid, signal.SIGCONT)


def gone(processes):
    end = time.monotonic() + 30
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_all_processes_and_leaves_nothing(make_xp, tmp_path, number, code):
    process, workers = interrupted(make_xp, tmp_path)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    go_on(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    assert gone(workers) and not list(tmp_path.rglob(".export-*"))


def test_a_process_that_is_killed_costs_one_export_and_is_one_sentence(make_xp, tmp_path):
    process, workers = interrupted(make_xp, tmp_path, make_xp("33333333").name)
    os.kill(min(workers), signal.SIGKILL)
    go_on(process)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.count("Its process has ended: ") == 1 and "Traceback" not in err
    assert "2 of 3 exported" in err and gone(workers)


def test_no_process_outlives_the_first(make_xp, tmp_path):
    process, workers = interrupted(make_xp, tmp_path)
    process.kill()
    go_on(process)
    process.communicate(timeout=60)
    assert len(workers) == 2 and gone(workers) and not list(tmp_path.rglob(".export-*"))


# Progress

def command(*argv, quiet=0., every=0.):
    return (f"from audiocraft_export import progress; from audiocraft_export.cli.main import main\n"
            f"progress.INITIAL_DELAY, progress.BAR_EVERY, progress.LINE_EVERY = {quiet}, {every}, {every}\n"
            f"if __name__ == '__main__': main({['run', *argv]!r})")


def test_a_terminal_shows_one_bar_with_bytes_rate_and_time_left(make_xp, tmp_path):
    make_xp(best_state=LARGE)
    shown = on_terminal("-c", command(SIG), cwd=tmp_path)
    assert f"{SIG} " in shown and "of 4.19 MB (" in shown and "MB/s" in shown and " left" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor is back
    assert shown.rstrip().splitlines()[-1].endswith("xps/0123abcd/export")


def test_several_exports_have_one_bar_and_their_results_are_whole_lines(make_xp, tmp_path):
    sigs = many(make_xp)
    shown = on_terminal("-c", command(*sigs), cwd=tmp_path)
    assert "0 done, 0 failed, " in shown and "2 done, 0 failed, " in shown
    lines = shown.replace("\r", "\n").splitlines()
    for sig in sigs:
        assert any(line.split("\x1b[2K")[-1].startswith(f"{sig} exported: best_state") for line in lines)


@pytest.mark.parametrize("env", [{}, {"TERM": "dumb"}, {"TERM": "unknown"}], ids=["fast", "dumb", "unknown"])
def test_what_is_done_within_a_second_shows_no_bar_and_a_simple_terminal_none_at_all(make_xp, tmp_path, env):
    make_xp()
    shown = on_terminal("-c", command(SIG, quiet=0. if env else 60.), cwd=tmp_path, **env)
    assert "\x1b" not in shown and "exported" in shown


def test_a_log_has_plain_lines_of_progress_now_and_then(make_xp, tmp_path):
    make_xp(best_state=LARGE)
    result = python("-c", command(SIG), cwd=tmp_path)
    lines = [line for line in result.stderr.splitlines() if line.startswith(f"INFO: {SIG}: ")]
    assert "\x1b" not in result.stderr and any(" of 4.19 MB (" in line and "MB/s" in line for line in lines)
    few = python("-c", command(SIG, "--weights", "last", every=60.), cwd=tmp_path)
    assert few.stderr.count("INFO: ") == 1


def test_json_is_alone_on_the_output_whatever_is_shown_beside_it(make_xp, tmp_path):
    make_xp(best_state=LARGE)
    code = command(SIG, "--json").replace("if __name__", "import sys; sys.stdout = open('out', 'w')\nif __name__")
    assert "left" in on_terminal("-c", code, cwd=tmp_path)
    assert json.loads((tmp_path / "out").read_text())["target"] == SIG


def test_progress_of_an_export_in_python_goes_to_its_logger(make_xp, dora_dir, monkeypatch, caplog):
    make_xp(best_state=LARGE)
    for name in ("INITIAL_DELAY", "LINE_EVERY"):
        monkeypatch.setattr(progress, name, 0.)
    with caplog.at_level(logging.INFO, "audiocraft_export"):
        export_xp(SIG, dora_dir)
    messages = [record.getMessage() for record in caplog.records if record.name == "audiocraft_export.progress"]
    assert messages and "(100%)" in messages[-1]


def test_a_failed_export_ends_its_progress(make_xp, dora_dir, tmp_path):
    folder = make_xp(best_state=LARGE)
    flip(folder / "checkpoint.th", LARGE["model"]["w"])
    for _ in range(2):
        with pytest.raises(ExportError):
            export_checkpoint(folder / "checkpoint.th", tmp_path / "release")
        assert progress._display is None


def test_a_bar_that_cannot_be_drawn_does_not_stop_the_export(make_xp, tmp_path):
    folder = make_xp(best_state=LARGE)
    code = command(SIG).replace("if __name__", "import rich.progress; del rich.progress.Progress\nif __name__")
    assert "the export goes on" in on_terminal("-c", code, cwd=tmp_path)
    assert (folder / "export" / "export.json").exists()


@pytest.mark.parametrize(("streams", "code"), [(">&-", 0), ("2>&-", 1), (">&- 2>&-", 0), ("2>/dev/full", 1)])
def test_streams_that_cannot_be_written_change_neither_the_result_nor_each_other(make_xp, tmp_path, streams, code):
    folder = make_xp()
    targets = f"{SIG} 99999999" if code else SIG
    line = f"{sys.executable} -m audiocraft_export run {targets} --json {streams}"
    result = subprocess.run(line, shell=True, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert result.returncode == code and result.stderr == "" and (folder / "export" / "export.json").exists()
    assert [json.loads(text)["target"] for text in result.stdout.splitlines()] == ([SIG, "99999999"] if code else [])


def test_help_takes_no_time():
    began = time.process_time()
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert time.process_time() - began < 0.25


def test_what_a_process_has_done_counts_in_full_at_its_end():
    told = []
    relay = progress.ForwardingDisplay(told.append, 0.2)
    share = progress.Progress("x", 1)
    relay.update(0, share)
    share.nbytes = share.work = share.done = 100
    relay.end(0, failed=False)
    assert [each.fraction for each in told] == [1., 1.]  # the same share, in this process

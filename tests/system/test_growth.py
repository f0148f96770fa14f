"""The cost of many experiments grows linearly."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.experiment.xp import each_xp
from audiocraft_export.release.owned_files import OwnedFiles
from audiocraft_export.storage import staging

PLAN = """
import sys, collections
seen = set()  # Python 3.9 says some of it twice
sys.addaudithook(lambda event, args: seen.update(
    [(event, str(args[0]))] if event in ("open", "os.listdir", "os.scandir") and sys.argv[1] in str(args[0]) else []))
from audiocraft_export.cli import main as cli
try:
    cli.main(["run", "--all", "--dora-dir", sys.argv[1]])
finally:
    import json
    print(json.dumps(collections.Counter(event for event, _ in seen)))
"""


def opened_by_planning(dora_dir):
    result = subprocess.run([sys.executable, "-c", PLAN, str(dora_dir)], text=True, capture_output=True)
    assert "Nothing to do" in result.stderr
    return json.loads(result.stdout)


def test_planning_reads_manifests_and_identities_and_lists_one_folder(make_xp, dora_dir):
    folder = make_xp()
    report = export_xp(SIG, dora_dir, ExportOptions(version="1.3.0"))
    for count in (20, 60):
        for number in range(count):
            xp = folder.parent / f"{number:08x}"
            (xp / "export").mkdir(parents=True, exist_ok=True)
            for name in ("checkpoint.th", "export/state_dict.bin"):
                if not (xp / name).exists():
                    os.link(folder / name, xp / name)
            (xp / "export" / "export.json").write_text(replace(report.manifest, sig=xp.name).text)
        assert opened_by_planning(dora_dir) == {"open": 2 * (count + 1), "os.scandir": 1}


def test_experiments_come_one_after_the_other(make_xp, dora_dir):
    make_xp()
    xps = each_xp(dora_dir)
    make_xp("ffffffff")
    assert [xp.sig for xp in xps] == [SIG]


@pytest.mark.parametrize("others, listed", [(100, 200), (3000, 1)])
def test_a_folder_of_many_releases_is_not_listed_for_each(tmp_path, monkeypatch, others, listed):
    for number in range(others):
        (tmp_path / str(number)).mkdir()
    lists, names_in = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: lists.append(folder) or names_in(folder))
    for _ in range(200):
        staging.remove_stale(OwnedFiles.owns, tmp_path)
    assert len(lists) <= listed

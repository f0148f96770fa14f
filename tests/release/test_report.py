"""What an export says that it did, or would do."""

from audiocraft_export import export_xp
from audiocraft_export.release.report import ExportReport, Plan


def test_a_report_says_what_was_done_and_where_it_is(make_xp, dora_dir):
    report = export_xp(make_xp().name, dora_dir)
    assert report.bytes == report.files[0].stat().st_size and report.done == "exported"
    assert "url" not in report.to_dict() and str(report).endswith(f"in {report.folder}")
    pushed = ExportReport(report.folder, report.manifest, written=False, url="https://hub/a/b")
    assert pushed.to_dict()["url"] == "https://hub/a/b" and not pushed.to_dict()["written"]
    assert " already exported: best_state after 2 epochs, 3 tensors" in str(pushed)
    assert str(pushed).endswith(", pushed to https://hub/a/b")


def test_a_plan_says_the_sizes_and_no_time(make_xp, dora_dir):
    report = export_xp(make_xp().name, dora_dir)
    plan = Plan(report.folder, report.manifest, {"a.bin": 1000, "b.bin": 24}, is_there=False)
    values = plan.to_dict()
    assert values["files"] == [{"name": "a.bin", "bytes": 1000}, {"name": "b.bin", "bytes": 24}]
    assert not {"time", "checksum"} & set(values) and plan.bytes == 1024
    assert plan.sizes == "a.bin 1 kB, b.bin 24 B" and " would be exported: " in str(plan)

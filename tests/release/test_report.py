"""Reports of exports and dry runs."""

from audiocraft_export import export_xp
from audiocraft_export.release.report import DryRunReport, ExportReport


def test_a_report_has_the_result_and_the_folder(make_xp, dora_dir):
    report = export_xp(make_xp().name, dora_dir)
    assert report.bytes == report.files[0].stat().st_size and report.done == "exported"
    assert report.to_dict()["url"] is None and str(report).endswith(f"in {report.folder}")
    pushed = ExportReport(report.folder, report.manifest, written=False, url="https://hub/a/b")
    assert pushed.to_dict()["url"] == "https://hub/a/b" and pushed.to_dict()["result"] == "already_exported"
    assert " already exported: best_state after 2 epochs, 3 tensors" in str(pushed)
    assert str(pushed).endswith(", pushed to https://hub/a/b")


def test_a_plan_has_sizes_and_no_time(make_xp, dora_dir):
    report = export_xp(make_xp().name, dora_dir)
    plan = DryRunReport(report.folder, report.manifest, {"a.bin": 1000, "b.bin": 24}, is_current=False)
    values = plan.to_dict()
    assert values["manifest"]["files"] == [{"name": "a.bin", "bytes": 1000}, {"name": "b.bin", "bytes": 24}]
    assert not {"time", "checksum"} & set(values["manifest"]) and values["bytes"] == 1024
    assert plan.sizes == "a.bin 1 kB, b.bin 24 B" and " would be exported: " in str(plan)


def test_a_report_is_escaped_in_a_notebook(make_xp, dora_dir):
    report = export_xp(make_xp().name, dora_dir)
    shown = ExportReport(report.folder, report.manifest, replaced="<script>")._repr_html_()
    assert f"<caption>{report.manifest.name} exported</caption>" in shown and "<th>state_dict.bin</th>" in shown
    assert "<script" not in shown and "<th>replaced</th><td>&lt;script&gt;</td>" in shown and "pushed to" not in shown

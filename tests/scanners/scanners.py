"""The scanners, by their Python API and by their command."""

import re
import subprocess
import sys
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import torch
from fickling.loader import scan_file, scan_zip_archive
from picklescan.scanner import SafetyLevel, scan_directory_path

HAS_MODELSCAN = sys.version_info < (3, 13)  # modelscan has no version for Python 3.13
BIN = Path(find_spec("picklescan").origin).parents[1] / "bin"


def picklescan(folder):
    """Return the number of scanned pickles, and the globals that picklescan calls dangerous or suspicious."""
    found = scan_directory_path(str(folder))
    assert not found.scan_err
    return found.scanned_files, Counter(f"{each.safety.value}: {each.module}.{each.name}" for each in found.globals
                                        if each.safety != SafetyLevel.Innocuous)


def modelscan(path):
    """Return the number of scanned pickles, and the issues of modelscan."""
    from modelscan.modelscan import ModelScan
    report = ModelScan().scan(path)
    assert report["errors"] == []
    return report["summary"]["scanned"]["total_scanned"], [each["description"] for each in report["issues"]]


def fickling(path):
    """Return the verdict of fickling on a file of torch, and its results without the numbers of variables."""
    scanned, = scan_zip_archive(str(path)).values()
    results = [result for pickled in scanned.results for result in pickled.results]
    return scanned.severity, Counter((result.severity.name, result.analysis_name, _without_numbers(str(result)))
                                     for result in results)


def fickling_as_pickle(path):
    """Return what fickling says of a file of another format if it has to read it as a pickle."""
    scanned = scan_file(str(path), graceful=True)
    return scanned.severity, scanned.errors, [str(pickled) for pickled in scanned.results]


def scan(scanner, *args, cwd):
    """Run the command of a scanner, and return its exit code and output."""
    result = subprocess.run([sys.executable, BIN / scanner, *args], cwd=cwd, text=True, capture_output=True)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout + result.stderr


def scan_pickle(path, folder):
    """Run the command of fickling on the pickle of a file of torch, and return its exit code and lines."""
    with zipfile.ZipFile(path) as archive:
        name, = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        pickle = archive.extract(name, folder)
    code, output = scan("fickling", "--check-safety", "--print-results", pickle, cwd=folder)
    return code, Counter(_without_numbers(output).splitlines())


def save_plain(path, folder):
    """Save the tensors of a file, and the bytes in it, by a plain torch.save."""
    folder.mkdir(exist_ok=True)
    torch.save([*_leaves(torch.load(path, weights_only=True))], folder / path.name)
    return folder / path.name


def _leaves(value):
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    elif isinstance(value, (torch.Tensor, bytes)):
        yield value


def _without_numbers(text):
    return re.sub(r"_var\d+", "_var", text)

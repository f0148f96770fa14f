"""Find private values in a string that is released, such as a model card or a log."""

import re

from audiocraft_export.experiment.privacy.detectors import TOKEN, KnownNames, find_in_text, kind_by_key, mask
from audiocraft_export.experiment.privacy.exposure import Exposure

ASSIGNED = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]{0,99})[\"'`]?\s{0,9}[:=]\s{0,9}[\"'`]?([^\s\"'`,]+)")


def exposed_in_text(name, text, names=None):
    """Return the private values in a string, each once per line; `name` is the name of its file."""
    names = (KnownNames.of_this_machine() if names is None else names).with_home_owners([text])
    return list(dict.fromkeys(exposure for number, line in enumerate(text.splitlines(), 1)
                              for exposure in _in_line((f"{name}:{number}",), line, names)))


def _in_line(path, line, names):
    for key, value in ASSIGNED.findall(line):
        if kind_by_key(key, value) == TOKEN:
            line = line.replace(value, " ")
            yield Exposure(path, TOKEN, mask(value))
    for kind, found in find_in_text(line, names):
        yield Exposure(path, kind, mask(found) if kind == TOKEN else found)

"""Check the lines of `--json` against the schema of the package."""

import json
from pathlib import Path

import audiocraft_export

SCHEMA = json.loads((Path(audiocraft_export.__file__).parent / "cli" / "schema.json").read_text())
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
         "null": type(None)}


def check_line(verb, line):
    """Check required keys, unknown keys and JSON types of a line, given as a string or parsed; return it parsed."""
    line = json.loads(line) if isinstance(line, str) else line
    check_value(line, SCHEMA, verb)
    assert any({*form["required"]} <= {*line} for form in SCHEMA["$defs"][verb]["anyOf"]), (verb, sorted(line))
    return line


def check_value(value, schema, where):
    kinds, items = schema.get("type", []), schema.get("properties", {})
    kinds = [kinds] if isinstance(kinds, str) else kinds
    is_right = any(isinstance(value, TYPES[kind]) and (kind == "boolean" or value is not True and value is not False)
                   for kind in kinds)
    assert (is_right or not kinds) and value == schema.get("const", value) and value in schema.get("enum", [value]), \
        f"{where}: {value!r} is not {schema}"
    if isinstance(value, dict):
        assert {*schema.get("required", [])} <= {*value}, f"{where}: missing keys in {value}"
        other = schema.get("additionalProperties", {})
        assert other is not False or {*value} <= {*items}, f"{where}: unknown keys {({*value} - {*items})}"
        for key, item in value.items():
            check_value(item, items.get(key, other), f"{where}.{key}")
    for item in value if isinstance(value, list) else ():
        check_value(item, schema.get("items", {}), f"{where}[]")

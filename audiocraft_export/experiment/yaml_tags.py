"""Convert Python tags in the YAML of a configuration to plain data, without constructing any object.

Hydra writes such tags for values that are not plain YAML: a path is `!!python/object/apply:pathlib.PosixPath`.
"""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Optional

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from ..errors import CheckpointError

_YAML, _PYTHON = "tag:yaml.org,2002:", "tag:yaml.org,2002:python/"
_PLAIN = {f"{_YAML}{name}" for name in (
    "null", "bool", "int", "float", "str", "seq", "map", "binary", "merge", "value", "timestamp")}  # dates stay strings
_SAME = {"none": "null", "bool": "bool", "str": "str", "unicode": "str", "int": "int", "long": "int", "float": "float",
         "bytes": "binary", "list": "seq", "tuple": "seq", "dict": "map"}
_PATHS = {f"{module}.{prefix}{kind}Path": flavour for module in ("pathlib", "pathlib._local")
          for prefix in ("", "Pure") for kind, flavour in (
              ("", PurePosixPath), ("Posix", PurePosixPath), ("Windows", PureWindowsPath))}
_NAMESPACES = ("argparse.Namespace", "types.SimpleNamespace")


def without_tags(text: str) -> str:
    """Replace the tags in a YAML text by plain data: a path by its string, a class or function by its name.

    Raises:
        CheckpointError: if a tagged value cannot be converted to plain data; the message names its key.
        yaml.YAMLError: if the text is not valid YAML.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader) if "!" in text else None
    if root is None or not _has_tags(root):
        return text
    plain: str = yaml.serialize(_to_plain(root, ""), Dumper=yaml.SafeDumper, allow_unicode=True, width=1 << 20)
    return plain


def _has_tags(node: Node) -> bool:
    return _is_tagged(node) or any(map(_has_tags, _children(node)))


def _is_tagged(node: Node) -> bool:
    return node.tag not in _PLAIN


def _children(node: Node) -> list[Node]:
    if isinstance(node, ScalarNode):
        return []
    return [each for item in node.value for each in (item if isinstance(item, tuple) else (item,))]


def _to_plain(node: Node, where: str) -> Node:
    """Copy a node without tags; `where` is its dotted key."""
    while _is_tagged(node):  # the argument of a call may have a tag as well
        node = _replace(node, where)
    if isinstance(node, ScalarNode):
        return node
    if isinstance(node, SequenceNode):
        items: list[Any] = [_to_plain(item, f"{where}[{index}]") for index, item in enumerate(node.value)]
        return SequenceNode(node.tag, items)
    items = [(_to_plain(key, where), _to_plain(value, f"{where}.{key.value}".lstrip("."))) for key, value in node.value]
    return MappingNode(node.tag, items)


def _replace(node: Node, where: str) -> Node:
    """Return a node with a standard tag for a node with a Python tag."""
    kind, _, name = node.tag[len(_PYTHON):].partition(":") if node.tag.startswith(_PYTHON) else ("", "", "")
    if kind in _SAME:
        return _copy(node, f"{_YAML}{_SAME[kind]}")
    if isinstance(node, ScalarNode):
        return _text(name if kind in ("name", "module") else node.value)
    if node.tag == f"{_YAML}set":
        return _sorted([key for key, _ in node.value])
    if kind == "object" and name in _NAMESPACES and isinstance(node, MappingNode):
        return _copy(node, f"{_YAML}map")
    value = _applied(name, node) if kind == "object/apply" and isinstance(node, SequenceNode) else None
    if value is None:
        key = f"`{where}` of the configuration" if where else "The configuration"
        raise CheckpointError("unsupported-config-value",
                              f"{key} has the unsupported YAML tag {node.tag.replace(_YAML, '!!')}",
                              "use only numbers, strings, lists and mappings")
    return value


def _applied(name: str, node: SequenceNode) -> Optional[Node]:
    """Convert a tag that calls a class: path, device, set or enumeration; return None for other classes."""
    values = [item.value for item in node.value]
    if name in (*_PATHS, "torch.device") and all(isinstance(value, str) for value in values):
        return _text(str(_PATHS[name](*values)) if name in _PATHS else ":".join(values))
    if name in ("builtins.set", "builtins.frozenset"):
        return _sorted(values[0]) if len(values) == 1 and isinstance(node.value[0], SequenceNode) else None
    is_enum = name.rpartition(".")[2][:1].isupper() and not name.startswith("collections.")
    return node.value[0] if is_enum and len(values) == 1 else None


def _sorted(items: list[Node]) -> Node:
    """Return the items of a set as a list: sorted numbers, then all other items sorted by their text."""
    numbers = [item for item in items if item.tag in (f"{_YAML}int", f"{_YAML}float")]
    others = sorted((item for item in items if item not in numbers), key=lambda item: str(item.value))
    return SequenceNode(f"{_YAML}seq", [*sorted(numbers, key=lambda item: float(yaml.safe_load(item.value))), *others])


def _copy(node: Node, tag: str) -> Node:
    """Copy a node with another tag."""
    kind: Any = type(node)
    copied: Node = kind(tag, node.value)
    return copied


def _text(value: str) -> ScalarNode:
    return ScalarNode(f"{_YAML}str", value, style='"')

"""Read a pickle without running it.

The opcodes are decoded by `pickletools` and executed here, one by one, on plain data. Nothing that a pickle names is
ever imported or called: the globals of `allowlist.py` stand for plain data; every other becomes an inert
UnknownGlobal that ignores all operations. So a checkpoint is read where the code of its training does not exist any
more, and a hostile one does nothing.

`torch.load(weights_only=True)` was broken twice (CVE-2025-32434, CVE-2026-24747) and knows neither omegaconf nor
unknown globals; `pickle.Unpickler` gives its memory, and the time of hashing keys, to whoever asks.
"""

from functools import partial
from io import BytesIO
from pickle import STOP, UnpicklingError
from pickletools import opcodes
from typing import Any, BinaryIO, Callable, Optional

from ..errors import CheckpointError, listing, printable, reason
from ..storage.lazy_bytes import LazyBytes
from .allowlist import SAFE_GLOBALS, AllowedGlobal, Node, SetItems, Storage, UnknownCall, UnknownGlobal, to_key
from .limits import CHARACTERS_PER_STEP, MAX_SHOWN_NAME, MAX_STEPS
from .numpy_scalars import NumpyDtype
from .tensor import ITEMSIZE


def unpickle(data: bytes, find_storage: Callable[[str], LazyBytes], where: str) -> tuple[Any, list[str]]:
    """Read a pickle of `torch.save` as plain data, `LazyTensor`s, `Node`s and `UnknownGlobal`s.

    Returns:
        What the pickle holds, and the sorted names of the unknown globals in it.

    Raises:
        CheckpointError: if it is not such a pickle; the message calls it `where`.
    """
    machine = _Unpickler(find_storage, where)
    try:
        return machine.run(data), sorted(machine.unknown_globals)
    except CheckpointError:
        raise
    except Exception as exc:  # a damaged pickle may raise anything
        named = f"; it names {listing(sorted(machine.unknown_globals))}" if machine.unknown_globals else ""
        raise CheckpointError(f"{where} is damaged, or not written by torch.save "
                              f"({type(exc).__name__}: {reason(exc)}{named}): nothing in it was run.") from exc


class _Unpickler:
    """The pickle machine: a stack, a memo and the stacks below the marks."""

    def __init__(self, find_storage: Callable[[str], LazyBytes], where: str) -> None:
        self.unknown_globals: dict[str, UnknownGlobal] = {}
        self._where, self._steps = where, MAX_STEPS
        self._find_storage = find_storage
        self._dtypes: dict[str, str] = {}  # of the storages, by their keys
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        stream = BytesIO(data)
        read_code, count, code = partial(stream.read, 1), 0, b""
        while code != STOP:
            count += 1
            if count > self._steps:
                raise CheckpointError(f"{self._where} holds more beside its tensors than any training does: keep what "
                                      "is no tensor out of it.")
            code = read_code()
            try:
                read, step = _CODES[code]
            except KeyError:
                raise UnpicklingError(f"an unknown opcode {code!r}" if code else "no end") from None
            step(self, read(stream) if read else None)
        if stream.tell() != len(data):
            raise UnpicklingError("something after its end")
        return self._stack.pop()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_python2(self, value: str) -> None:
        self._stack.append(value.encode("latin1").decode("utf-8"))

    def push_mark(self, _: None) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def pop(self, _: None) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.pop_mark()

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def make_tuple(self, count: int) -> None:
        if count > len(self._stack):
            raise UnpicklingError("a tuple of nothing")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, (list, SetItems)):
            (target.items if isinstance(target, SetItems) else target).extend(items)
        elif not _ignores_changes(target):
            raise UnpicklingError(f"something that is appended to a {type(target).__name__}")

    def update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update((to_key(name), value) for name, value in zip(items[::2], items[1::2]))
        elif not _ignores_changes(target):
            raise UnpicklingError(f"an item of a {type(target).__name__}")

    def make_dict(self, items: list[Any]) -> None:
        self._stack.append({})
        self.update(items)

    def find(self, module: Any, name: Any) -> Any:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnpicklingError("a name that is no text")
        return SAFE_GLOBALS.get((module, name)) or self.unknown(f"{module}.{name}")

    def unknown(self, name: str, is_attribute: bool = False) -> UnknownGlobal:
        name = printable(name[:MAX_SHOWN_NAME])
        return self.unknown_globals.setdefault(name, UnknownGlobal(name, is_attribute))

    def stack_global(self, _: None) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self.find(module, name))

    def call(self, func: Any, args: Any) -> Any:
        if isinstance(func, AllowedGlobal) and func.make is not None:
            self._steps -= sum(map(_cost, args), len(args) ** 2 // 3)
            made = func.make(*args) if self._steps > 0 else None
            return self.unknown(made.name, made.is_attribute) if type(made) is UnknownGlobal else made
        if isinstance(func, AllowedGlobal):
            return next((arg for arg in args if type(arg) in (UnknownGlobal, UnknownCall)), func)
        if isinstance(func, UnknownGlobal):
            has_value = len(args) == 1 and type(args[0]) is not UnknownGlobal
            return UnknownCall(func.name, value=args[0]) if has_value and type(func) is UnknownGlobal else func
        raise UnpicklingError(f"a call of a {type(func).__name__}")

    def reduce(self, operands: int) -> None:
        func, args = self._stack[-operands:][:2]
        self._stack[-operands:] = [self.call(func, args)]

    def new(self, operands: int) -> None:
        func, *args = self._stack[-operands:]
        if any(args) and isinstance(func, AllowedGlobal) and func.make is not None:
            raise UnpicklingError(f"a {func.name} that is made with arguments, which it ignores")
        self.reduce(operands)

    def make_instance(self, operands: list[Any]) -> None:
        func, *args = operands
        self._stack.append(self.call(func, args))

    def build(self, _: None) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, (Node, NumpyDtype)):
            target.build(state)
        elif not isinstance(target, dict) and not _ignores_changes(target):
            raise UnpicklingError(f"a pickle that changes a {type(target).__name__.removeprefix('Lazy').lower()}")

    def persistent(self, pid: Any) -> None:
        kind, storage, key, location, numel = pid
        if not isinstance(storage, UnknownGlobal):
            is_empty = location == "meta"  # torch gives it no bytes
            if kind != "storage" or not isinstance(key, str) or type(numel) is not int or is_empty:
                raise UnpicklingError("a persistent id that is no storage")
            blob, nbytes = self._find_storage(key), numel * ITEMSIZE[storage.dtype]
            if self._dtypes.setdefault(key, storage.dtype) != storage.dtype:
                raise UnpicklingError(f"storage {key} of two dtypes")
            if blob.nbytes != nbytes:
                raise UnpicklingError(f"storage {key} claims {nbytes} bytes and has {blob.nbytes}")
            storage = Storage(storage.dtype, blob)
        self._stack.append(storage)


def _cost(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return len(value) // CHARACTERS_PER_STEP
    return len(value) if isinstance(value, (list, tuple, dict)) else 0


def _ignores_changes(target: Any) -> bool:
    """Whether a value stays the same whatever a pickle does to it; what is changed was no enumeration."""
    if isinstance(target, UnknownCall):
        target.is_changed = True
    return isinstance(target, UnknownGlobal) and not (isinstance(target, AllowedGlobal) and target.make)


_Step = Callable[[_Unpickler, Any], Any]

_STEPS: dict[str, _Step] = {name: step for names, step in (
    ("PROTO FRAME STOP", lambda machine, _: None),
    ("INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
     "BINBYTES SHORT_BINBYTES BINBYTES8", _Unpickler.push),
    ("STRING BINSTRING SHORT_BINSTRING", _Unpickler.push_python2),
    ("NONE", lambda machine, _: machine._stack.append(None)),
    ("NEWTRUE", lambda machine, _: machine._stack.append(True)),
    ("NEWFALSE", lambda machine, _: machine._stack.append(False)),
    ("EMPTY_LIST", lambda machine, _: machine._stack.append([])),
    ("EMPTY_TUPLE", lambda machine, _: machine._stack.append(())),
    ("EMPTY_DICT", lambda machine, _: machine._stack.append({})),
    ("EMPTY_SET", lambda machine, _: machine.push(SetItems([]))),
    ("BYTEARRAY8", lambda machine, _: machine.push(machine.unknown("builtins.bytearray"))),
    ("FROZENSET", lambda machine, _: machine.push(SetItems(machine.pop_mark(), "builtins.frozenset"))),
    ("MARK", _Unpickler.push_mark),
    ("POP", _Unpickler.pop),
    ("POP_MARK", lambda machine, _: machine.pop_mark()),
    ("DUP", lambda machine, _: machine.push(machine._stack[-1])),
    ("PUT BINPUT LONG_BINPUT", _Unpickler.put),
    ("MEMOIZE", lambda machine, _: machine.put(len(machine._memo))),
    ("GET BINGET LONG_BINGET", lambda machine, index: machine._stack.append(machine._memo[index])),
    ("LIST", lambda machine, _: machine.push(machine.pop_mark())),
    ("TUPLE", lambda machine, _: machine.push(tuple(machine.pop_mark()))),
    ("DICT", lambda machine, _: machine.make_dict(machine.pop_mark())),
    ("TUPLE1", lambda machine, _: machine.make_tuple(1)),
    ("TUPLE2", lambda machine, _: machine.make_tuple(2)),
    ("TUPLE3", lambda machine, _: machine.make_tuple(3)),
    ("APPEND", lambda machine, _: machine.extend([machine._stack.pop()])),
    ("APPENDS ADDITEMS", lambda machine, _: machine.extend(machine.pop_mark())),
    ("SETITEM", lambda machine, _: machine.update([*map(machine._stack.pop, (-2, -1))])),
    ("SETITEMS", lambda machine, _: machine.update(machine.pop_mark())),
    ("GLOBAL", lambda machine, name: machine._stack.append(machine.find(*name.split(" ", 1)))),
    ("STACK_GLOBAL", _Unpickler.stack_global),
    ("EXT1 EXT2 EXT4", lambda machine, code: machine.push(machine.unknown(f"copyreg extension {code}"))),
    ("REDUCE", lambda machine, _: machine.reduce(2)),
    ("NEWOBJ", lambda machine, _: machine.new(2)),
    ("NEWOBJ_EX", lambda machine, _: machine.new(3)),
    ("INST", lambda machine, name: machine.make_instance([machine.find(*name.split(" ", 1)), *machine.pop_mark()])),
    ("OBJ", lambda machine, _: machine.make_instance(machine.pop_mark())),
    ("BUILD", _Unpickler.build),
    ("PERSID", _Unpickler.persistent),
    ("BINPERSID", lambda machine, _: machine.persistent(machine._stack.pop())),
) for name in names.split()}
_CODES: dict[bytes, tuple[Optional[Callable[[BinaryIO], Any]], _Step]] = {
    opcode.code.encode("latin1"): (opcode.arg.reader if opcode.arg else None, _STEPS[opcode.name])
    for opcode in opcodes if opcode.name in _STEPS}

"""Read a pickle without running any code in it.

The opcodes are decoded by `pickletools` and executed here, one by one, on plain data. A global of the pickle is never
imported or called: the globals of `allowlist.py` are replaced by functions that make plain data, and each other global
becomes an inert UnknownGlobal that ignores all operations. A checkpoint can be read without the code of its training,
and a hostile pickle has no effect.

`torch.load(weights_only=True)` was broken twice (CVE-2025-32434, CVE-2026-24747), and supports neither omegaconf nor
unknown globals. `pickle.Unpickler` limits neither memory nor the time for hashing keys.
"""

import struct
from io import BytesIO
from pickle import LONG_BINGET, LONG_BINPUT, STOP, UnpicklingError
from pickletools import OpcodeInfo, opcodes
from typing import Any, Callable

from ..errors import RESTORE, CheckpointError, listing, printable, reason
from ..storage.lazy_bytes import LazyBytes
from .allowlist import (
    CONSTANT_TIME,
    SAFE_GLOBALS,
    AllowedGlobal,
    Node,
    SetItems,
    Storage,
    UnknownCall,
    UnknownGlobal,
    to_key,
)
from .limits import CHARACTERS_PER_STEP, MAX_SHOWN_NAME, MAX_STEPS
from .numpy_scalars import NumpyDtype
from .tensor import ITEMSIZE


def unpickle(data: bytes, find_storage: Callable[[str], LazyBytes], where: str) -> tuple[Any, list[str]]:
    """Read a pickle of `torch.save` as plain data, `LazyTensor`s, `Node`s and `UnknownGlobal`s.

    Args:
        data: the pickle.
        find_storage: returns the bytes of a storage by its key.
        where: the name of the file for messages.

    Returns:
        The content of the pickle, and the sorted names of its unknown globals.

    Raises:
        CheckpointError: if the pickle is invalid or too large.
    """
    machine = _Unpickler(find_storage, where)
    try:
        return machine.run(data), sorted(machine.unknown_globals)
    except CheckpointError:
        raise
    except Exception as exc:  # An invalid pickle may raise any exception.
        problem = reason(exc) if isinstance(exc, UnpicklingError) else f"{type(exc).__name__}: {reason(exc)}"
        named = f"; unknown globals: {listing(sorted(machine.unknown_globals))}" if machine.unknown_globals else ""
        raise CheckpointError("corrupted-file", f"{where} is corrupted or was not written by torch.save ({problem}"
                              f"{named}); no code in it was run", RESTORE) from exc


class _Unpickler:
    """The virtual machine of pickle: a stack, a memo, and the stacks below the marks."""

    def __init__(self, find_storage: Callable[[str], LazyBytes], where: str) -> None:
        self.unknown_globals: dict[str, UnknownGlobal] = {}
        self._where, self._budget = where, MAX_STEPS
        self._find_storage = find_storage
        self._dtypes: dict[str, str] = {}  # dtype of each storage, by storage key
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """Execute a pickle, and return the top of the stack at its end."""
        stream, memo, position, count, code, end = BytesIO(data), self._memo, 0, 0, -1, len(data)
        while code != _STOP:
            count += 1
            if count > self._budget:
                raise CheckpointError("limit-exceeded", f"{self._where}: pickle exceeds the limit of "
                                      f"{MAX_STEPS / 1e6:.3g} million operations",
                                      "store large non-tensor data in other files")
            if position >= end:
                raise UnpicklingError("unexpected end")
            code = data[position]
            position += 1
            if code == _LONG_BINPUT:  # with LONG_BINGET nearly half of the operations in a file of torch.save
                memo[_read_uint4(data, position)[0]] = self._stack[-1]
                position += 4
                continue
            if code == _LONG_BINGET:
                self._stack.append(memo[_read_uint4(data, position)[0]])
                position += 4
                continue
            try:
                size, read, handle = _CODES[code]
            except KeyError:
                raise UnpicklingError(f"unknown opcode {bytes([code])!r}") from None
            if size:
                handle(self, read(data, position)[0])
                position += size
            elif read:
                stream.seek(position)
                handle(self, read(stream))
                position = stream.tell()
            else:
                handle(self)
        if position != end:
            raise UnpicklingError("unexpected bytes after the end of the pickle")
        return self._stack.pop()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_python2(self, value: str) -> None:
        self._stack.append(value.encode("latin1").decode("utf-8"))

    def push_mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def push_tuple(self) -> None:
        items, self._stack = self._stack, self._below.pop()
        self._stack.append(tuple(items))

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.pop_mark()

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def make_tuple(self, count: int) -> None:
        if count > len(self._stack):
            raise UnpicklingError("tuple of missing items")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, (list, SetItems)):
            (target.items if isinstance(target, SetItems) else target).extend(items)
        elif not _ignores_changes(target):
            raise UnpicklingError(f"unexpected append to {type(target).__name__}")

    def update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update((to_key(name), value) for name, value in zip(items[::2], items[1::2]))
        elif not _ignores_changes(target):
            raise UnpicklingError(f"unexpected assignment to an item of {type(target).__name__}")

    def make_dict(self, items: list[Any]) -> None:
        self._stack.append({})
        self.update(items)

    def find(self, module: Any, name: Any) -> Any:
        """Return the replacement of an allowed global, or an UnknownGlobal."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnpicklingError("global whose name is not a string")
        return SAFE_GLOBALS.get((module, name)) or self.unknown(f"{module}.{name}")

    def unknown(self, name: str, is_attribute: bool = False) -> UnknownGlobal:
        name = printable(name[:MAX_SHOWN_NAME])
        return self.unknown_globals.setdefault(name, UnknownGlobal(name, is_attribute))

    def stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self.find(module, name))

    def call(self, func: Any, args: Any) -> Any:
        """Call the replacement of an allowed global; the result of any other call is inert."""
        if isinstance(func, AllowedGlobal) and func.make is not None:
            self._budget -= len(args) ** 2 // 3
            if args and func.make not in CONSTANT_TIME:
                self._budget -= sum(map(_cost, args))
            made = func.make(*args) if self._budget > 0 else None
            return self.unknown(made.name, made.is_attribute) if type(made) is UnknownGlobal else made
        if isinstance(func, AllowedGlobal):
            return next((arg for arg in args if type(arg) in (UnknownGlobal, UnknownCall)), func)
        if isinstance(func, UnknownGlobal):
            has_value = len(args) == 1 and type(args[0]) is not UnknownGlobal
            return UnknownCall(func.name, value=args[0]) if has_value and type(func) is UnknownGlobal else func
        raise UnpicklingError(f"unexpected call of {type(func).__name__}")

    def reduce(self) -> None:
        args = self._stack.pop()
        self._stack[-1] = self.call(self._stack[-1], args)

    def new(self, operands: int) -> None:
        """Create an instance (NEWOBJ); refuse arguments of allowed classes."""
        func, *args = self._stack[-operands:]
        if any(args) and isinstance(func, AllowedGlobal) and func.make is not None:
            raise UnpicklingError(f"{func.name} with unexpected arguments")
        del self._stack[len(self._stack) - operands + 2:]  # the keyword arguments of NEWOBJ_EX
        self.reduce()

    def make_instance(self, operands: list[Any]) -> None:
        func, *args = operands
        self._stack.append(self.call(func, args))

    def build(self) -> None:
        """Set the state of the object on top of the stack."""
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, (Node, NumpyDtype)):
            target.build(state)
        elif not isinstance(target, dict) and not _ignores_changes(target):
            raise UnpicklingError(f"unexpected change of {type(target).__name__.removeprefix('Lazy').lower()}")

    def persistent(self, pid: Any) -> None:
        """Push the storage that a persistent ID refers to."""
        kind, storage, key, location, numel = pid
        if not isinstance(storage, UnknownGlobal):
            is_empty = location == "meta"  # torch stores no bytes for this device
            if kind != "storage" or not isinstance(key, str) or type(numel) is not int or is_empty:
                raise UnpicklingError("persistent id that is not a storage")
            blob, nbytes = self._find_storage(key), numel * ITEMSIZE[storage.dtype]
            if self._dtypes.setdefault(key, storage.dtype) != storage.dtype:
                raise UnpicklingError(f"storage {key} with two dtypes")
            if blob.nbytes != nbytes:
                raise UnpicklingError(f"storage {key} has {blob.nbytes} bytes: expected {nbytes}")
            storage = Storage(storage.dtype, blob)
        self._stack.append(storage)


def _cost(value: Any) -> int:
    """Return the cost of a call argument, in operations that count towards `MAX_STEPS`."""
    if isinstance(value, (str, bytes)):
        return len(value) // CHARACTERS_PER_STEP
    return len(value) if isinstance(value, (list, tuple, dict)) else 0


def _ignores_changes(target: Any) -> bool:
    """Return whether a value is inert; a changed UnknownCall is marked, because it is not an enumeration."""
    if isinstance(target, UnknownCall):
        target.is_changed = True
    return isinstance(target, UnknownGlobal) and not (isinstance(target, AllowedGlobal) and target.make)


_Handler = Callable[..., Any]  # takes the machine, and the argument of the opcode, if it has one

_HANDLERS: dict[str, _Handler] = {name: handle for names, handle in (
    ("PROTO FRAME", lambda machine, _: None),
    ("STOP", lambda machine: None),
    ("INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
     "BINBYTES SHORT_BINBYTES BINBYTES8", _Unpickler.push),
    ("STRING BINSTRING SHORT_BINSTRING", _Unpickler.push_python2),
    ("NONE", lambda machine: machine._stack.append(None)),
    ("NEWTRUE", lambda machine: machine._stack.append(True)),
    ("NEWFALSE", lambda machine: machine._stack.append(False)),
    ("EMPTY_LIST", lambda machine: machine._stack.append([])),
    ("EMPTY_TUPLE", lambda machine: machine._stack.append(())),
    ("EMPTY_DICT", lambda machine: machine._stack.append({})),
    ("EMPTY_SET", lambda machine: machine.push(SetItems([]))),
    ("BYTEARRAY8", lambda machine, _: machine.push(machine.unknown("builtins.bytearray"))),
    ("FROZENSET", lambda machine: machine.push(SetItems(machine.pop_mark(), "builtins.frozenset"))),
    ("MARK", _Unpickler.push_mark),
    ("POP", _Unpickler.pop),
    ("POP_MARK", lambda machine: machine.pop_mark()),
    ("DUP", lambda machine: machine.push(machine._stack[-1])),
    ("PUT BINPUT LONG_BINPUT", _Unpickler.put),
    ("MEMOIZE", lambda machine: machine.put(len(machine._memo))),
    ("GET BINGET LONG_BINGET", lambda machine, index: machine._stack.append(machine._memo[index])),
    ("LIST", lambda machine: machine.push(machine.pop_mark())),
    ("TUPLE", _Unpickler.push_tuple),
    ("DICT", lambda machine: machine.make_dict(machine.pop_mark())),
    ("TUPLE1", lambda machine: machine.make_tuple(1)),
    ("TUPLE2", lambda machine: machine.make_tuple(2)),
    ("TUPLE3", lambda machine: machine.make_tuple(3)),
    ("APPEND", lambda machine: machine.extend([machine._stack.pop()])),
    ("APPENDS ADDITEMS", lambda machine: machine.extend(machine.pop_mark())),
    ("SETITEM", lambda machine: machine.update([*map(machine._stack.pop, (-2, -1))])),
    ("SETITEMS", lambda machine: machine.update(machine.pop_mark())),
    ("GLOBAL", lambda machine, name: machine._stack.append(machine.find(*name.split(" ", 1)))),
    ("STACK_GLOBAL", _Unpickler.stack_global),
    ("EXT1 EXT2 EXT4", lambda machine, code: machine.push(machine.unknown(f"copyreg extension {code}"))),
    ("REDUCE", _Unpickler.reduce),
    ("NEWOBJ", lambda machine: machine.new(2)),
    ("NEWOBJ_EX", lambda machine: machine.new(3)),
    ("INST", lambda machine, name: machine.make_instance([machine.find(*name.split(" ", 1)), *machine.pop_mark()])),
    ("OBJ", lambda machine: machine.make_instance(machine.pop_mark())),
    ("BUILD", _Unpickler.build),
    ("PERSID", _Unpickler.persistent),
    ("BINPERSID", lambda machine: machine.persistent(machine._stack.pop())),
) for name in names.split()}
_STOP, _LONG_BINPUT, _LONG_BINGET = STOP[0], LONG_BINPUT[0], LONG_BINGET[0]
_read_uint4 = struct.Struct("<I").unpack_from
_NUMBERS = {"uint1": "B", "uint2": "<H", "int4": "<i", "uint4": "<I", "uint8": "<Q", "float8": ">d"}


def _decoder(opcode: OpcodeInfo) -> tuple[int, Any]:
    """Return how the argument of an opcode is read: its size and a function of data and position, or of a stream."""
    if opcode.arg is None:
        return 0, None
    number = _NUMBERS.get(opcode.arg.name)  # most arguments are numbers, and pickletools reads them slowly
    return (opcode.arg.n, struct.Struct(number).unpack_from) if number else (0, opcode.arg.reader)


_CODES: dict[int, tuple[int, Any, _Handler]] = {
    ord(opcode.code): (*_decoder(opcode), _HANDLERS[opcode.name]) for opcode in opcodes
    if opcode.name in _HANDLERS}

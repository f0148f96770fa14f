"""Nothing executed: pickles that call, containers that hide one, and whether any of it ever ran.

Every payload would write the file `marker` where it runs. The exports happen in a child process that has torch and
the package loaded, watches every audit event of an export, and stands in a folder full of bait.
"""

import bz2
import gzip
import io
import json
import lzma
import marshal
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import torch

import audiocraft_export
from torture import Row, one_sentence

MARKER = "marker"
FEWEST = 60
LONGEST = 3000


# Opcodes ----------------------------------------------------------------------------------------------------------

def text(value):
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def binary(data):
    return b"B" + struct.pack("<I", len(data)) + data


def items(*opcodes):
    return b"](" + b"".join(opcodes) + b"e"


def named(name):
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def stacked(module, attribute):
    return text(module) + text(attribute) + b"\x93"


def arguments(*opcodes):
    return b"(" + b"".join(opcodes) + b"t"


def called(function, *opcodes):
    return (named(function) if isinstance(function, str) else function) + arguments(*opcodes) + b"R"


def imported(module):
    return called("importlib.import_module", text(module))


def state_of(**opcodes):
    return b"}(" + b"".join(text(name) + value for name, value in opcodes.items()) + b"u"


def alone(opcodes, protocol=2):
    """A whole pickle of one object."""
    return pickle.PROTO + bytes([protocol]) + opcodes + pickle.STOP


SHELL, CODE, SYSTEM = text(f"touch {MARKER}"), text(f"open('{MARKER}', 'w').close()"), named("os.system")
FILE, WRITE, EVIL = text(MARKER), text("w"), text("bait.pkl")
ZERO, ONE, NONE, DICT, EMPTY = b"K\0", b"K\1", b"N", b"}", b")"
NESTED = alone(called("os.system", SHELL))
FUNCTION = compile(f"open('{MARKER}', 'w').close()", "<payload>", "exec")


@dataclass(frozen=True, eq=False)
class Payload:
    """Opcodes that push one object.

    Args:
        opcodes: of any kind; a marker is written if they have their way.
        names: what a message has to name, each as alternatives; None if there is nothing foreign in it, empty if it
            can only be refused.
        protocol: of the pickle around it.
        leaves: the plain value that is left, if it swallows the intruder.
    """

    opcodes: bytes
    names: Optional[tuple] = ()
    protocol: int = 2
    leaves: object = ...


# Names that a pickle may call just so, with the arguments that would write the marker where that is possible.
CALLS = {
    **{f"{module}.system": (SHELL,) for module in ("os", "posix", "nt")},
    **{f"{module}.popen": (SHELL,) for module in ("os", "posix", "platform")},
    **{f"os.{name}": (text("touch"), items(text("touch"), FILE)) for name in ("execvp", "execv")},
    "os.execlp": (text("touch"), text("touch"), FILE), "os.spawnlp": (ZERO, text("touch"), text("touch"), FILE),
    "posix.posix_spawn": (text("/usr/bin/touch"), items(text("touch"), FILE), DICT),
    "os.mkdir": (FILE,), "posix.mkdir": (FILE,), "os.makedirs": (FILE,), "os.mknod": (FILE,),
    "os.open": (FILE, b"K\x41"), "posix.open": (FILE, b"K\x41"), "os.symlink": (text("bait.pkl"), FILE),
    "os.rename": (text("bait.txt"), FILE), "os.link": (text("bait.txt"), FILE), "os.putenv": (text("INTRUDER"), ONE),
    "os.startfile": (SHELL,), "nt.startfile": (SHELL,), "posix._exit": (ZERO,), "os._exit": (ZERO,),
    **{f"subprocess.{name}": (items(text("touch"), FILE),)
       for name in ("Popen", "call", "run", "check_call", "check_output")},
    "subprocess.getoutput": (SHELL,), "subprocess.getstatusoutput": (SHELL,), "commands.getoutput": (SHELL,),
    "popen2.popen3": (SHELL,), "_posixsubprocess.fork_exec": (NONE,), "pty.spawn": (items(text("touch"), FILE),),
    "multiprocessing.util.spawnv_passfds": (text("/usr/bin/touch"), items(text("touch"), FILE), EMPTY),
    "distutils.spawn.spawn": (items(text("touch"), FILE),),
    "distutils.file_util.write_file": (FILE, items(FILE)), "ensurepip._run_pip": (items(text("--version")),),
    **{f"{module}.{name}": (CODE,) for module in ("builtins", "__builtin__") for name in ("eval", "exec")},
    **{f"{module}.__import__": (text("bait"),) for module in ("builtins", "__builtin__", "importlib")},
    "builtins.open": (FILE, WRITE), "__builtin__.open": (FILE, WRITE), "__builtin__.file": (FILE, WRITE),
    "__builtin__.execfile": (text("bait.py"),), "__builtin__.apply": (SYSTEM, items(SHELL)),
    "builtins.compile": (CODE, FILE, text("exec")), "builtins.breakpoint": (), "builtins.input": (),
    "builtins.help": (text("bait"),), "builtins.globals": (), "builtins.print": (FILE,),
    "builtins.setattr": (named("os.environ"), text("intruder"), ONE), "builtins.vars": (named("os.environ"),),
    **{f"{module}.open": (FILE, WRITE) for module in ("io", "_io", "os.fdopen", "codecs", "aifc", "wave", "shelve")},
    "io.FileIO": (FILE, WRITE), "_io.FileIO": (FILE, WRITE), "pathlib.Path.write_text": (FILE, FILE),
    "zipfile.ZipFile": (FILE, WRITE), "tarfile.open": (FILE, WRITE), "dbm.dumb.open": (FILE, WRITE),
    "logging.FileHandler": (FILE,), "shutil.copyfile": (text("bait.txt"), FILE), "shutil.rmtree": (text("no/such"),),
    "shutil.move": (text("bait.txt"), FILE), "sqlite3.connect": (FILE,), "tempfile.mkdtemp": (FILE, FILE, text(".")),
    "importlib.import_module": (text("bait"),), "importlib.reload": (text("os"),), "imp.load_source": (FILE,),
    "importlib._bootstrap._gcd_import": (text("bait"),), "_frozen_importlib.__import__": (text("bait"),),
    "importlib.machinery.SourceFileLoader": (text("bait"), text("bait.py")), "zipimport.zipimporter": (FILE,),
    "_imp.create_dynamic": (NONE,), "pkgutil.resolve_name": (text("bait:run"),), "pydoc.locate": (text("bait"),),
    "pydoc.pipepager": (FILE, SHELL), "pydoc.importfile": (text("bait.py"),), "bait.run": (), "bait.Class": (),
    "runpy.run_path": (text("bait.py"),), "runpy.run_module": (text("bait"),), "runpy._run_code": (CODE, DICT),
    "webbrowser.open": (text("file:///bait"),), "webbrowser.GenericBrowser": (text("touch"),),
    "pdb.run": (CODE,), "pdb.Pdb": (), "bdb.Bdb": (),
    "timeit.timeit": (text("pass"), CODE),  # as what is done once before: the other is done a million times
    "timeit.main": (items(CODE),), "timeit.repeat": (CODE,), "cProfile.run": (CODE, FILE), "profile.run": (CODE, FILE),
    "trace.Trace": (), "doctest.debug_script": (CODE,), "code.interact": (), "code.InteractiveInterpreter": (),
    "idlelib.pyshell.ModifiedInterpreter": (), "lib2to3.pgen2.grammar.Grammar": (), "cgitb.lookup": (FILE,),
    "ctypes.CDLL": (text("./bait.so"),), "ctypes.util.find_library": (text("bait"),), "_ctypes.dlopen": (text("./b"),),
    "cffi.FFI": (), "readline.read_init_file": (text("bait"),), "signal.raise_signal": (b"K\x0f",),
    "threading.Thread": (NONE, SYSTEM), "_thread.start_new_thread": (SYSTEM, arguments(SHELL)),
    "atexit.register": (SYSTEM, SHELL), "weakref.finalize": (SYSTEM, SYSTEM, SHELL), "sys.exit": (ZERO,),
    "sys.setrecursionlimit": (ONE,), "sys.settrace": (SYSTEM,), "sys.addaudithook": (SYSTEM,),
    "functools.reduce": (SYSTEM, items(SHELL)), "itertools.starmap": (SYSTEM, items(arguments(SHELL))),
    "_collections_abc.Mapping": (), "collections.namedtuple": (FILE, FILE), "enum.Enum": (FILE, FILE),
    "dataclasses.make_dataclass": (FILE, items(FILE)), "types.FunctionType": (NONE, DICT), "types.CodeType": (),
    "marshal.loads": (binary(marshal.dumps(FUNCTION)),), "gc.get_objects": (), "inspect.getmembers": (SYSTEM,),
    **{f"{module}.loads": (binary(NESTED),) for module in ("pickle", "_pickle", "cPickle", "dill", "cloudpickle")},
    **{f"{module}.Unpickler": (FILE,) for module in ("pickle", "_pickle", "torch.serialization")},
    "joblib.load": (EVIL,), "joblib.numpy_pickle.load": (EVIL,), "pandas.read_pickle": (EVIL,),
    "yaml.load": (text("!!python/object/apply:os.system [touch marker]"),), "yaml.unsafe_load": (CODE,),
    "copyreg.add_extension": (FILE, FILE, ONE), "copyreg._reconstructor": (SYSTEM, SYSTEM, SHELL),
    "copyreg.__newobj__": (SYSTEM, SHELL), "copy.copy": (SYSTEM,), "socket.create_connection": (arguments(SHELL, ONE),),
    "socket.socket": (), "_socket.socket": (), "ssl.get_server_certificate": (arguments(SHELL, ONE),),
    "urllib.request.urlretrieve": (text("file:bait.txt"), FILE), "urllib.request.urlopen": (text("file:bait.txt"),),
    "http.client.HTTPSConnection": (SHELL,), "requests.api.get": (SHELL,), "requests.get": (SHELL,),
    "smtplib.SMTP": (), "ftplib.FTP": (), "imaplib.IMAP4_stream": (SHELL,), "xmlrpc.client.ServerProxy": (SHELL,),
    "pip.main": (items(text("--log"), FILE, text("help")),), "pip._internal.main": (items(text("--log"), FILE),),
    "pip._internal.cli.main.main": (items(text("--log"), FILE, text("help")),), "setuptools.setup": (),
    **{f"torch.{name}": (EVIL,) for name in ("load", "serialization.load", "jit.load", "package.load", "jit._load")},
    "torch.storage._load_from_bytes": (binary(NESTED),), "torch._utils._import_dotted_name": (text("bait.run"),),
    "torch.hub.load": (text("."), text("run")), "torch.hub.load_state_dict_from_url": (text("file:bait.pkl"),),
    "torch.hub.download_url_to_file": (text("file:bait.txt"), FILE), "torch.ops.load_library": (text("./bait.so"),),
    "torch.classes.load_library": (text("./bait.so"),), "torch.utils.cpp_extension.load_inline": (FILE, CODE),
    "torch._inductor.codecache.compile_file": (FILE, FILE, items(SHELL)),
    "torch._inductor.codecache.PyCodeCache.load": (CODE,), "torch._inductor.config.load_config": (binary(NESTED),),
    "torch._dynamo.guards.GuardBuilder.get": (CODE,), "torch._dynamo.config.load_config": (binary(NESTED),),
    "torch.utils._config_module.ConfigModule.load_config": (NONE, binary(NESTED)), "torch.save": (FILE, FILE),
    "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression": (NONE, CODE, EMPTY),
    "torch.utils.collect_env.run": (SHELL,), "torch.utils.bottleneck.__main__.run_cprofile": (CODE, DICT),
    "torch.distributed.rpc.internal._internal_rpc_pickler.deserialize": (binary(NESTED), NONE),
    "torch.fx.graph_module.reduce_graph_module": (state_of(_code=CODE), text("")), "torch.from_file": (FILE,),
    "torch.fx._symbolic_trace.symbolic_trace": (SYSTEM,),
    "torch.jit.unsupported_tensor_ops.execWrapper": (CODE, DICT, DICT),
    "numpy.load": (EVIL, NONE, b"\x88"), "numpy.lib.npyio.load": (EVIL, NONE, b"\x88"), "numpy.fromfile": (FILE,),
    "numpy.core.multiarray._reconstruct": (SYSTEM, EMPTY, text("b")), "numpy.memmap": (FILE, text("u1"), text("w+")),
    "numpy.testing._private.utils.runstring": (CODE, DICT), "numpy.ctypeslib.load_library": (FILE, FILE),
    "numpy.f2py.crackfortran.param_eval": (CODE, DICT, DICT), "numpy.f2py.diagnose.run_command": (SHELL,),
    "numpy.distutils.exec_command.exec_command": (SHELL,), "numpy.savetxt": (FILE, items(ONE)),
    "hydra.utils.instantiate": (state_of(_target_=text("os.system"), _args_=items(SHELL)),),
    "hydra._internal.instantiate._instantiate2.instantiate": (state_of(_target_=text("bait.run")),),
    "omegaconf.OmegaConf.register_new_resolver": (text("intruder"), SYSTEM), "omegaconf.OmegaConf.load": (EVIL,),
    "omegaconf.resolvers.oc.env": (text("HOME"),), "audiocraft_export.cli.main.main": (items(text("run"), FILE),),
    "audiocraft_export.checkpoint.unpickler.unpickle": (binary(NESTED), SYSTEM, FILE), "flashy.distrib.rank": (),
    "dora.conf.DoraConfig": (FILE,), "audiocraft.solvers.builders.get_solver": (DICT,),
    "__main__.Class": (), "mymodule.MyClass": (ONE,), "transformers.AutoModel": (FILE,), "sympy.sympify": (CODE,),
}
LONG_NAME = "x" * 100_000
IN_MEMO = b"r\x00\x01\x00\x00"
FROM_MEMO = b"j\x00\x01\x00\x00"
SYSTEM_OF_OS = called("builtins.getattr", imported("os"), text("system"))
PID = (text("storage"), named("torch.FloatStorage"), text("0"), text("cpu"))


def persistent(*opcodes):
    return arguments(*opcodes) + b"Q"


def tensor_of(storage):
    return called("torch._utils._rebuild_tensor_v2", storage, ZERO, arguments(ONE), arguments(ONE), b"\x89", DICT)


def with_state(thing, *states):
    return thing + b"".join(state + b"b" for state in states)


def set_state(thing):
    """An allowed object that gets a `__setstate__` of its own and then a state."""
    return with_state(thing, state_of(__setstate__=SYSTEM), SHELL)


TRICKS = {
    "GLOBAL": (SYSTEM, ("os.system",)),
    "GLOBAL of a module that is not imported yet": (named("bait.run"), ("bait.run",)),
    "STACK_GLOBAL": (called(stacked("os", "system"), SHELL), ("os.system",)),
    "STACK_GLOBAL of short and long strings": (called(
        b"\x8c\x02os" + b"\x8d" + struct.pack("<Q", 6) + b"system\x93", SHELL), ("os.system",)),
    "STACK_GLOBAL from the memo": (text("system") + IN_MEMO + b"0" + called(
        text("os") + FROM_MEMO + b"\x93", SHELL), ("os.system",)),
    "STACK_GLOBAL of numbers": (called(ONE + ONE + b"\x93", SHELL), ()),
    "a callable from the memo": (SYSTEM + IN_MEMO + b"0" + called(FROM_MEMO, SHELL), ("os.system",)),
    "a callable by DUP": (SYSTEM + b"20" + arguments(SHELL) + b"R", ("os.system",)),
    "INST": (b"(" + SHELL + b"ios\nsystem\n", ("os.system",)),
    "INST with the spelling of Python 2": (b"(" + CODE + b"i__builtin__\neval\n", ("__builtin__.eval",)),
    "OBJ": (b"(" + SYSTEM + SHELL + b"o", ("os.system",)),
    "OBJ of an argparse.Namespace": (b"(" + named("argparse.Namespace") + SYSTEM + b"o", ("os.system",), {}),
    "REDUCE of an allowed name": (called("torch._utils._rebuild_tensor_v2", called("os.system", SHELL), ZERO, EMPTY,
                                         EMPTY, b"\x89", DICT), ("os.system",)),
    "NEWOBJ": (named("builtins.bytes") + arguments(named("builtins.map") + arguments(SYSTEM, items(SHELL)) + b"\x81")
               + b"\x81", ("builtins.map|builtins.bytes", "os.system")),
    "NEWOBJ of an allowed name": (named("torch.Size") + arguments(
        named("builtins.map") + arguments(SYSTEM, items(SHELL)) + b"\x81") + b"\x81", ("builtins.map", "os.system")),
    "NEWOBJ_EX": (named("builtins.bytes") + arguments(
        named("builtins.map") + arguments(SYSTEM, items(SHELL)) + DICT + b"\x92") + DICT + b"\x92",
        ("builtins.map|builtins.bytes", "os.system")),
    "BUILD of os.system": (with_state(called("os.system", SHELL), state_of(a=ONE)), ("os.system",)),
    **{f"BUILD with __setstate__ of {name}": (set_state(called(name)), ("os.system|amespace|nn.modules",)) for name in (
        "argparse.Namespace", "torch.nn.modules.module.Module")},
    "BUILD with __setstate__ of collections.OrderedDict": (set_state(called("collections.OrderedDict")),
                                                           ("os.system",), {}),
    "BUILD with __setstate__ of a class": (set_state(named("torch.nn.parameter.Parameter")),
                                           ("os.system|torch.nn.parameter.Parameter",)),
    "BUILD with slots": (with_state(called("argparse.Namespace"), NONE + state_of(__setstate__=SYSTEM) + b"\x86",
                                    SHELL), ("os.system|amespace",)),
    "BUILD of a partial": (with_state(called("functools.partial", SYSTEM), arguments(
        SYSTEM, arguments(SHELL), DICT, NONE)) + EMPTY + b"R", ("functools.partial", "os.system")),
    "APPEND": (with_state(called("argparse.Namespace"), state_of(append=SYSTEM)) + SHELL + b"a", ("os.system",)),
    "APPENDS": (with_state(called("argparse.Namespace"), state_of(extend=named("subprocess.call"))) + b"("
                + text("touch") + FILE + b"e", ("subprocess.call",)),
    "ADDITEMS": (with_state(called("argparse.Namespace"), state_of(add=SYSTEM)) + b"(" + SHELL + b"\x90",
                 ("os.system",)),
    "SETITEM of the environment": (named("os.environ") + text("INTRUDER") + text("1") + b"s", ("os.environ",)),
    "SETITEMS of sys.modules": (named("sys.modules") + b"(" + text("intruder") + ONE + b"u", ("sys.modules",)),
    "SETITEM of an allowed name": (named("collections.OrderedDict") + text("a") + SYSTEM + b"s", ("os.system",)),
    **{f"EXT{size}": (called(opcode, SHELL), ("os.system|extension",)) for size, opcode in (
        (1, b"\x82\xf0"), (2, b"\x83\xf0\x0f"), (4, b"\x84\xf0\x0f\x0f\x00"))},
    "EXT0": (b"\x82\x00", ("extension",)),
    "persistent id of a callable's storage": (persistent(
        text("storage"), SYSTEM, text("0"), text("cpu"), b"K\x14"), ("os.system",)),
    "persistent id that calls": (called("os.system", SHELL) + b"Q", ("os.system",)),
    "persistent id of a module": (persistent(text("module"), named("bait.Class"), text("bait.py"), CODE),
                                  ("bait.Class",)),
    "persistent id as text": (b"Pos.system\n", ()), "persistent id that is a number": (ONE + b"Q", ()),
    "persistent id that is None": (NONE + b"Q", ()), "persistent id that is too short": (persistent(*PID[:2]), ()),
    "persistent id with a path as its key": (tensor_of(persistent(
        *PID[:2], text("../data.pkl"), text("cpu"), b"K\x14")), ()),
    "persistent id with an absolute path as its key": (tensor_of(persistent(
        *PID[:2], text("/etc/passwd"), text("cpu"), b"K\x14")), ()),
    "persistent id of another kind": (tensor_of(persistent(text("file"), *PID[1:], b"K\x14")), ()),
    "persistent id with a stranger as its key": (tensor_of(persistent(
        *PID[:2], called("os.system", SHELL), text("cpu"), b"K\x14")), ("os.system",)),
    "persistent id with a stranger as its size": (tensor_of(persistent(*PID, called("os.system", SHELL))),
                                                  ("os.system",)),
    "a tensor with a stranger as its shape": (called(
        "torch._utils._rebuild_tensor_v2", persistent(*PID, b"K\x14"), ZERO, called("os.system", SHELL), EMPTY,
        b"\x89", DICT), ("os.system|no record",)),
    "a tensor with strangers as its hooks": (called(
        "torch._utils._rebuild_tensor_v2", persistent(*PID, b"K\x14"), ZERO, arguments(ONE), arguments(ONE),
        b"\x89", called("os.system", SHELL)), ("os.system",), Payload(tensor_of(persistent(*PID, b"K\x14")))),
    "a tensor whose type is the callable": (called(
        "torch._tensor._rebuild_from_type_v2", SYSTEM, named("torch.Tensor"), arguments(SHELL), DICT),
        ("os.system",)),
    "a tensor whose type is a stranger": (called(
        "torch._tensor._rebuild_from_type_v2", named("builtins.eval"), named("bait.Class"), arguments(CODE), DICT),
        ("builtins.eval", "bait.Class")),
    "a tensor subclass with a state": (called(
        "torch._tensor._rebuild_from_type_v2", named("torch._utils._rebuild_tensor_v2"), named("torch.Tensor"),
        arguments(persistent(*PID, b"K\x14"), ZERO, arguments(ONE), arguments(ONE), b"\x89", DICT),
        state_of(__setstate__=SYSTEM)), ("os.system",), Payload(tensor_of(persistent(*PID, b"K\x14")))),
    "a parameter with a state": (called(
        "torch._utils._rebuild_parameter_with_state", called("os.system", SHELL), b"\x88", DICT, DICT),
        ("os.system",)),
    "a default factory": (called("collections.defaultdict", SYSTEM), ("os.system",), {}),
    "an ordered dict of calls": (called("collections.OrderedDict", items(called("os.system", SHELL))),
                                 ("os.system",)),
    "getattr chain": (called(SYSTEM_OF_OS, SHELL), ("importlib.import_module", "builtins.getattr")),
    "getattr chain by __import__": (called(called("builtins.getattr", called("builtins.__import__", text("os")),
                                                  text("system")), SHELL), ("builtins.__import__", "builtins.getattr")),
    "getattr of an allowed name": (called("builtins.getattr", named("builtins.dict"), text("__subclasses__")),
                                   ("builtins.getattr",)),
    "getattr of a maker": (called("builtins.getattr", named("_codecs.encode"), text("__globals__")),
                           ("builtins.getattr",)),
    "functools.partial": (called(called("functools.partial", SYSTEM, SHELL)), ("functools.partial", "os.system")),
    "_functools.partial": (called(called("_functools.partial", SYSTEM, SHELL)), ("_functools.partial", "os.system")),
    **{f"{module}.attrgetter": (called(called(called(f"{module}.attrgetter", text("system")), imported("os")), SHELL),
                                (f"{module}.attrgetter",)) for module in ("operator", "_operator")},
    **{f"{module}.methodcaller": (called(called(f"{module}.methodcaller", text("system"), SHELL), imported("os")),
                                  (f"{module}.methodcaller",)) for module in ("operator", "_operator")},
    "operator.call": (called("operator.call", SYSTEM, SHELL), ("operator.call", "os.system")),
    "pkgutil.resolve_name": (called(called("pkgutil.resolve_name", text("os:system")), SHELL),
                             ("pkgutil.resolve_name",)),
    "map and list": (called("builtins.list", called("builtins.map", SYSTEM, items(SHELL))),
                     ("builtins.map", "os.system")),
    "map and dict": (called("collections.OrderedDict", called("builtins.map", SYSTEM, items(SHELL))),
                     ("builtins.map", "os.system")),
    "a class made by type": (called(called("builtins.type", text("X"), EMPTY, state_of(__reduce__=SYSTEM))),
                             ("os.system|builtins.type",)),
    "code of marshal": (called(called("types.FunctionType", called("marshal.loads", binary(marshal.dumps(FUNCTION))),
                                      DICT)), ("types.FunctionType", "marshal.loads")),
    "a codec that would be imported": (called("_codecs.encode", text("a"), text("bait")), ()),
    "a codec that transforms": (called("_codecs.encode", text("a"), text("rot13")), ()),
    "pathlib with a stranger": (called("pathlib.PosixPath", called("os.system", SHELL)), ("os.system",)),
    "POP": (called("os.system", SHELL) + b"0N", ("os.system",), None),
    "POP_MARK": (b"(" + called("os.system", SHELL) + b"1N", ("os.system",), None),
    "a pickle in bytes": (binary(NESTED), None), "a pickle in text": (text(NESTED.decode("latin1")), None),
    "a pickle in a pickle of torch": (called("torch.storage._load_from_bytes", called(
        "_codecs.encode", text(NESTED.decode("latin1")), text("latin1"))), ("torch.storage._load_from_bytes",)),
    "a stranger in a tuple in a set": (b"\x8f(" + arguments(called("os.system", SHELL)) + b"\x90",
                                           ("os.system|builtins.set",)),
    "a stranger in a frozenset": (b"(" + called("os.system", SHELL) + b"\x91", ("os.system|builtins.frozenset",)),
    "a stranger as a key": (DICT + called("os.system", SHELL) + ONE + b"s",
                            ("os.system|is a dict, no signature|holds no configuration",)),
    "an empty name": (called(stacked("os", ""), SHELL), ("os.",)),
    "an empty module": (called(stacked("", "system"), SHELL), (".system|system",)),
    "a name in letters that look alike": (called(stacked("\u043es", "system"), SHELL), ("system",)),
    "a name of surrogates": (called(stacked("os", "system\udc80"), SHELL), ("os.system",)),
    "a name with a line break": (called(stacked("evil", "name\nINFO: all is well"), SHELL), ("evil.name",)),
    "a name with a colour": (called(stacked("evil", "\x1b[31mname"), SHELL), ("evil.",)),
    "a name with a zero byte": (called(stacked("evil", "na\0me"), SHELL), ("evil.na",)),
    "a name that turns the text around": (called(stacked("evil", "\u202ename"), SHELL), ("evil.",)),
    "a name of 100,000 letters": (called(stacked("evil", LONG_NAME), SHELL), ("evil.xxx",)),
    "10,000 names": (b"".join(named(f"evil.name{number}") + b"0" for number in range(10_000)) + called("evil.name"),
                     ("evil.name",)),
    "a name with spaces": (called(stacked("os ", " system"), SHELL), ("os . system|os .",)),
    "a relative name": (called(stacked(".os", "system"), SHELL), (".os.system",)),
}
DOTTED = {
    ("os", "path.os.system"): (SHELL,), ("pathlib", "os.system"): (SHELL,), ("torch", "os.system"): (SHELL,),
    ("argparse", "_os.system"): (SHELL,), ("random", "_os.system"): (SHELL,), ("collections", "_sys.exit"): (ZERO,),
    ("typing", "sys.modules.clear"): (), ("builtins", "eval.__call__"): (CODE,),
    ("builtins", "dict.__class__.__subclasses__"): (), ("builtins", "list.__init__.__class__"): (),
    ("collections", "OrderedDict.__init__.__globals__"): (), ("omegaconf.dictconfig", "DictConfig.__init__"): (),
    ("torch._utils", "sys.modules.clear"): (), ("torch", "Size.__reduce_ex__"): (), ("torch", "hub.load"): (FILE,),
    ("pathlib", "PosixPath.unlink"): (FILE,), ("argparse", "Namespace.__init__.__globals__"): (),
    ("torch", "Tensor.__setstate__"): (FILE,), ("_codecs", "encode.__self__.lookup"): (text("bait"),),
    ("torch._tensor", "_rebuild_from_type_v2.__globals__"): (),
}
PAYLOADS = {
    **{name: Payload(opcodes, names, 2, *leaves) for name, (opcodes, names, *leaves) in TRICKS.items()},
    **{f"{module} . {name}": Payload(called(stacked(module, name), *args), (f"{module}.{name}",), 4)
       for (module, name), args in DOTTED.items()},
    **{f"{kind} in protocol {protocol}": Payload(called(function, SHELL), ("os.system|_reconstructor",), protocol)
       for kind, function in (("os.system", SYSTEM), ("STACK_GLOBAL", stacked("os", "system")))
       for protocol in range(6)},
    **{name: Payload(called(name, *args), (name,)) for name, args in CALLS.items()},
}
REAL = (  # those that run with every Python and torch here, so that the trial can fail: see `executed`
    "os.system", "posix.system", "builtins.eval", "__builtin__.eval", "builtins.exec", "builtins.open", "io.open",
    "subprocess.run", "subprocess.call", "bait.run", "importlib.import_module", "runpy.run_path", "timeit.timeit",
    "pickle.loads", "_pickle.loads", "pkgutil.resolve_name", "functools.partial", "operator.attrgetter",
    "_operator.methodcaller", "getattr chain", "getattr chain by __import__",
    "GLOBAL of a module that is not imported yet", "STACK_GLOBAL", "STACK_GLOBAL from the memo",
    "a callable from the memo", "INST", "OBJ", "NEWOBJ", "NEWOBJ of an allowed name", "NEWOBJ_EX",
    "BUILD with __setstate__ of argparse.Namespace", "BUILD with __setstate__ of collections.OrderedDict",
    "BUILD of a partial", "APPEND", "APPENDS", "ADDITEMS", "EXT1", "EXT2", "EXT4", "POP",
    "map and list", "code of marshal", "pathlib . os.system", "a tensor whose type is the callable",
    "a pickle in a pickle of torch", *(f"os.system in protocol {protocol}" for protocol in range(6)),
)


# Checkpoints ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, eq=False)
class After:
    """A value before which a payload is run and forgotten."""

    payload: Payload
    value: object


@dataclass(frozen=True, eq=False)
class Around:
    """A value that the intruder is asked to hand through."""

    function: bytes
    value: object


class Splicer(pickle._Pickler):
    """The pickler of Python that also writes opcodes as they are."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Payload):
            return self.write(obj.opcodes)
        if isinstance(obj, After):
            self.write(obj.payload.opcodes + pickle.POP)
            return self.save(obj.value)
        if isinstance(obj, Around):
            self.write(obj.function)
            self.save((obj.value,))
            return self.write(pickle.REDUCE)
        return super().save(obj, save_persistent_id)

    def save_pers(self, pid):
        self.save(pid, save_persistent_id=False)
        self.write(pickle.BINPERSID)


PICKLE = SimpleNamespace(__name__="pickle", Pickler=Splicer, dump=pickle.dump)


def checkpoint(path, state, protocol=2, **options):
    torch.save(state, path, pickle_module=PICKLE, pickle_protocol=protocol, **options)
    return path


def good_state(**sections):
    from helpers import solver_state  # not in the child: it loads pytest
    return solver_state(**{"xp.cfg": plain_cfg(), **sections})


def plain_cfg(**changes):
    return {"solver": "mine", "fsdp": {"use": False}, "optim": {"lr": 1e-4}, "user": "${oc.env:USER}", **changes}


def weights(change):
    from helpers import model_state
    return {"best_state": {"model": change(model_state(3))}}


def node_of_cfg(payload):
    from omegaconf import OmegaConf
    cfg = OmegaConf.create(plain_cfg())
    cfg.__dict__["_content"]["optim"].__dict__["_content"]["lr"] = payload
    return cfg


RELEASED = {  # where a stranger would be released, were it not refused
    "as the whole pickle": lambda payload: payload,
    "as one of the weights": lambda payload: weights(lambda model: {**model, "emb.0.weight": payload}),
    "among plain data in the weights": lambda payload: weights(lambda model: {**model, "more": [1, (payload,)]}),
    "as all weights": lambda payload: weights(lambda model: payload),
    "as best_state": lambda payload: {"best_state": payload},
    "as a name in the weights": lambda payload: weights(lambda model: {**model, payload: 1}),
    "as a value in xp.cfg": lambda payload: {"xp.cfg": plain_cfg(more=payload)},
    "as a node in xp.cfg": lambda payload: {"xp.cfg": node_of_cfg(payload)},
    "as xp.cfg": lambda payload: {"xp.cfg": payload},
    "as a key in xp.cfg": lambda payload: {"xp.cfg": {**plain_cfg(), payload: 1}},
    "as xp.sig": lambda payload: {"xp.sig": payload},
}
BESIDE = {
    "in history": lambda payload: {"history": [{"valid": {"ce": 2.0}}, payload]},
    "in optimizer": lambda payload: {"optimizer": {"state": {0: payload}}},
    "in an unknown key": lambda payload: {"unknown": [payload]},
    "as an unknown key": lambda payload: {payload: 1},
    "before all": lambda payload: After(payload, good_state()),
    "before a weight": lambda payload: weights(lambda model: {**model, "emb.0.weight": After(
        payload, model["emb.0.weight"])}),
    "before a value in xp.cfg": lambda payload: {"xp.cfg": plain_cfg(solver=After(payload, "mine"))},
}
AROUND = {
    "around a weight": lambda call: weights(lambda model: {**model, "emb.0.weight": call(model["emb.0.weight"])}),
    "around the weights": lambda call: weights(call),
    "around a value in xp.cfg": lambda call: {"xp.cfg": plain_cfg(solver=call("mine"))},
    "around xp.cfg": lambda call: {"xp.cfg": call(plain_cfg())},
    "around xp.sig": lambda call: {"xp.sig": call("0123abcd")},
}
PLACES = ("as the whole pickle", "as one of the weights", "as a value in xp.cfg", "as xp.sig", "in history",
          "in optimizer", "in an unknown key", "before a weight")
INTRUDERS = ("bait.same", "copy.copy", "builtins.eval", "builtins.str", "operator.itemgetter", "torch.nn.Parameter")


@dataclass
class Attempt:
    """One file, and what an export of it has to say.

    Args:
        what: the payload and its place.
        path: of the file.
        names: as those of a payload.
        released: whether the intruder stands where it would be released.
        good: a checkpoint without the intruder, if it is not the usual one.
    """

    what: str
    path: Path
    names: Optional[tuple]
    released: bool
    good: Optional[Path] = None


def pickles(folder, share):
    """Every payload in every place, or so many of them."""
    tries = [(name, where) for name, payload in PAYLOADS.items() for where in places(name, payload)]
    tries += [(name, where) for name in INTRUDERS for where in AROUND]
    for number, (name, where) in enumerate(some(tries, share)):
        path = folder / f"{number}.th"
        if where in AROUND:
            checkpoint(path, placed(AROUND[where], lambda value, name=name: Around(named(name), value)))
            yield Attempt(f"{name} {where}", path, (name,), True)
        else:
            yield attempt(PAYLOADS[name], name, where, path)


def places(name, payload):
    """Where to try a payload; those that are only another name to call not in the odd places."""
    released = () if payload.names is None else RELEASED
    return [where for where in (*released, *BESIDE) if name not in CALLS or where in PLACES]


def placed(place, value):
    sections = place(value)
    return {**good_state(), **sections} if isinstance(sections, dict) else sections


def attempt(payload, name, where, path):
    place = {**RELEASED, **BESIDE}[where]
    checkpoint(path, placed(place, payload), payload.protocol)
    if payload.leaves is ... or where not in RELEASED:
        return Attempt(f"{name} {where}", path, payload.names, where in RELEASED)
    hashable = not isinstance(payload.leaves, dict) or where not in ("as a name in the weights", "as a key in xp.cfg")
    good = checkpoint(path.with_suffix(".good"), placed(place, payload.leaves)) if hashable else None
    return Attempt(f"{name} {where}", path, payload.names, False, good)


def some(makers, share):
    """A share, spread over all of them, and always the same."""
    count = min(len(makers), max(FEWEST, round(len(makers) * share)))
    return makers if count == len(makers) else random.Random(0).sample(makers, count)


# Containers -------------------------------------------------------------------------------------------------------

LOCAL, CENTRAL = ({"flags": (6, "H"), "method": (8, "H"), "crc": (14, "I"), "packed": (18, "I"), "size": (22, "I")},
                  {"flags": (8, "H"), "method": (10, "H"), "crc": (16, "I"), "packed": (20, "I"), "size": (24, "I"),
                   "disk": (34, "H"), "offset": (42, "I")})
END = struct.Struct("<4s4H2IH")
PKL = "archive/data.pkl"


def records_of(state):
    stream = io.BytesIO()
    checkpoint(stream, state)
    with zipfile.ZipFile(stream) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def zipped(records, method=zipfile.ZIP_STORED, only=None, comment=b""):
    """A zip archive of records, `only` one of them by a method."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of a duplicate name, which is meant
        archive.comment = comment
        for name, data in records:
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = method if only in (None, name) else zipfile.ZIP_STORED
            archive.writestr(info, data)
    return stream.getvalue()


def edited(data, where, record=PKL, **values):
    """A zip archive with fields of a record's `local` or `central` header overwritten."""
    data = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        begin, fields = archive.getinfo(record).header_offset, LOCAL
        if where == "central":
            begin, fields = data.index(record.encode(), archive.start_dir) - 46, CENTRAL
    for field, value in values.items():
        offset, kind = fields[field]
        struct.pack_into(f"<{kind}", data, begin + offset, value)
    return bytes(data)


def both(data, record=PKL, **values):
    return edited(edited(data, "local", record, **values), "central", record, **values)


def ended(data, gap=b"", **values):
    """A zip archive with fields of its end record overwritten, and something before its central directory."""
    fields = dict(zip(("signature", "disk", "start_disk", "here", "entries", "size", "offset", "comment"),
                      END.unpack(data[-END.size:])))
    directory = data[fields["offset"]:-END.size]
    fields.update({"offset": fields["offset"] + len(gap), **values})
    return data[:-len(directory) - END.size] + gap + directory + END.pack(*fields.values())


def shifted(data, junk):
    """A zip archive behind leading bytes, with all offsets right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [(info.filename, info.header_offset) for info in archive.infolist()]
    for name, offset in names:
        data = edited(data, "central", name, offset=offset + len(junk))
    return junk + ended(data, offset=END.unpack(data[-END.size:])[6] + len(junk))


def renamed(data, old, new, where):
    """A record under another name of the same length, in one of its headers only."""
    place = data.index(old) if where == "local" else data.rindex(old)
    return data[:place] + new + data[place + len(old):]


def with_extra(data, extra):
    """An extra field in the first record's central header."""
    start, (size, offset) = END.unpack(data[-END.size:])[6], END.unpack(data[-END.size:])[5:7]
    name = struct.unpack_from("<H", data, start + 28)[0]
    head = bytearray(data[start:start + 46])
    struct.pack_into("<H", head, 30, len(extra))
    rest = data[start + 46 + name:-END.size]
    body = data[:start] + bytes(head) + data[start + 46:start + 46 + name] + extra + rest
    return body + END.pack(*END.unpack(data[-END.size:])[:5], size + len(extra), offset, 0)


def tarred(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def legacy(state):
    stream = io.BytesIO()
    checkpoint(stream, state, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def hidden(data):
    """A local record that no central directory lists."""
    return data[:data.index(b"PK\1\2")]


def npy(data):
    return b"\x93NUMPY\1\0" + struct.pack("<H", 70) + b"{'descr': '|O', 'fortran_order': False, 'shape': ()}".ljust(
        69) + b"\n" + data


def containers():
    """Files by what they are: their bytes, and what a message has to name."""
    good = records_of(good_state())
    evil = records_of(good_state(history=[Payload(called("os.system", SHELL))]))
    beside = zipped([*good, ("hidden1/data.pkl", NESTED)])
    others, bad = [pair for pair in good if pair[0] != PKL], zipped(evil)
    pkl, sound = [(PKL, NESTED)], zipped(good)
    root, second = dict(good)[PKL], zipped(pkl)
    methods = {"deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
    yield from {f"raw pickle of protocol {protocol}": alone(called("os.system", SHELL), protocol)
                for protocol in range(6)}.items()
    yield from {
        "checkpoint with os.system in history": bad, "nothing but a pickle in the zip": zipped(pkl),
        "legacy file of torch": legacy(good_state(history=[Payload(called("os.system", SHELL))])),
        "legacy file of torch behind a pickle": NESTED + legacy(good_state()),
        "legacy tar of torch": tarred(sys_info=NESTED, pickle=NESTED, storages=NESTED, tensors=NESTED),
        "tar around a checkpoint": tarred(**{"checkpoint.th": bad}), "tar around a pickle": tarred(pickle=NESTED),
        "gzip": gzip.compress(bad), "bzip2": bz2.compress(bad), "xz": lzma.compress(bad), "zlib": zlib.compress(NESTED),
        "joblib": b"\x80\4\x95" + struct.pack("<Q", len(NESTED) - 2) + NESTED[2:],
        "joblib, compressed": zlib.compress(NESTED), "joblib of old": b"ZF" + b"0x13".ljust(19) + zlib.compress(NESTED),
        "7z": b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<IQQI", 0, len(NESTED), 0, 0) + NESTED,
        "rar": b"Rar!\x1a\7\1\0" + NESTED, "HDF5": b"\x89HDF\r\n\x1a\n" + NESTED, "GGUF": b"GGUF\3\0\0\0" + NESTED,
        "safetensors": struct.pack("<Q", 2) + b"{}" + NESTED, "npy": npy(NESTED),
        "npz": zipped([("a.npy", npy(NESTED))]), "npz in the root": zipped([*good, ("archive/a.npy", npy(NESTED))]),
        "pyc": b"\xa7\r\r\n" + bytes(12) + marshal.dumps(FUNCTION), "empty": b"", "wrong magic": b"PK\3\5" + bad[4:],
        "empty magic": bytes(4) + bad[4:], "magic of an empty zip": b"PK\5\6" + bad[4:], "half a magic": b"PK",
        "magic of a spanned zip": b"PK\7\10" + bad[4:], "empty zip": zipped([]),
    }.items()
    yield from {
        **{f"password zip by flags in {where}": edited(bad, where, flags=1) for where in ("local", "central")},
        "password zip": both(bad, flags=1), "password zip, strong": both(bad, flags=0x41),
        **{f"flag bit {bit} in {where}": edited(bad, where, flags=1 << bit)
           for bit in range(16) for where in ("local", "central")},
        **{f"flag bit {bit} in both": both(bad, flags=1 << bit) for bit in range(16)},
        **{f"{field} differs in {where}": edited(bad, where, **{field: value}) for where in ("local", "central")
           for field, value in {"method": 8, "crc": 1, "packed": 7, "size": 7}.items()},
        "offset of another record": edited(bad, "central", offset=7), "another disk": edited(bad, "central", disk=1),
        "offset behind the file": edited(bad, "central", offset=0xFFFFFF00),
        "offset of a hidden record": edited(beside, "central", offset=beside.index(b"hidden1") - 30),
        "another name in the local header": renamed(bad, PKL.encode(), b"archive/evil.pkl", "local"),
        "another name in the central directory": renamed(zipped([*others, ("archive/evil.pkl", root), *pkl]),
                                                         b"archive/evil.pkl", PKL.encode(), "central"),
        "two names changed against each other": renamed(renamed(
            zipped([(PKL, root), ("archive/evil.pkl", NESTED), *others]), PKL.encode(), b"archive/xxxx.pkl", "local"),
            b"archive/evil.pkl", PKL.encode(), "local"),
        "all fields zero in the local header": edited(bad, "local", crc=0, packed=0, size=0),
    }.items()
    yield from {
        "duplicate data.pkl, the evil one first": zipped(pkl + good), "duplicate data.pkl, the evil one last": zipped(
            good + pkl),
        "duplicate storage": zipped([*good, ("archive/data/0", NESTED)]),
        "data.pkl beside another root, first": zipped([("other/data.pkl", NESTED), *good]),
        "data.pkl beside another root, last": zipped([*good, ("other/data.pkl", NESTED)]),
        "data.pkl without a root": zipped([("data.pkl", NESTED), *good]),
        "data.pkl without any root": zipped([(name[len("archive/"):], data) for name, data in evil]),
        "data.pkl above the root": zipped([*good, ("../data.pkl", NESTED)]),
        "data.pkl at the root of the disk": zipped([*good, ("/data.pkl", NESTED)]),
        "data.pkl with a zero byte": zipped([*good, ("archive/data.pkl\0x", NESTED)]),
        "data.pkl with a backslash": zipped([*good, ("archive\\data.pkl", NESTED)]),
        "DATA.PKL": zipped([*good, ("archive/DATA.PKL", NESTED)]),
        "data.pkl by way of the root": zipped([*good, ("archive/../archive/data.pkl", NESTED)]),
        "data.pkl with two slashes": zipped([*good, ("archive//data.pkl", NESTED)]),
        "data.pkl in a folder": zipped([*good, ("archive/more/data.pkl", NESTED)]),
        "a pickle that nobody asked for": zipped([*good, ("archive/evil.pkl", NESTED)]),
        "TorchScript": zipped([*good, ("archive/constants.pkl", NESTED)]),
        "code of TorchScript": zipped([*good, ("archive/code/__torch__.py", b"import os")]),
        "another byteorder": zipped([(name, NESTED if name.endswith("byteorder") else data) for name, data in good]),
        "another version": zipped([(name, NESTED if name.endswith("version") else data) for name, data in evil]),
        "storage that is a pickle": zipped([(name, NESTED if name.endswith("/0") else data) for name, data in good]),
        **{f"data.pkl {how}": zipped(evil, method, PKL) for how, method in methods.items()},
        **{f"storage {how}": zipped(evil, method, "archive/data/0") for how, method in methods.items()},
        "all deflated": zipped(evil, zipfile.ZIP_DEFLATED),
        "unicode path": with_extra(bad, struct.pack("<2HBI", 0x7075, 5 + len(PKL), 1, 0) + PKL.encode()),
        "sizes of 64 bits": with_extra(edited(bad, "central", evil[0][0], size=0xFFFFFFFF), struct.pack(
            "<2HQ", 1, 8, len(NESTED))),
        "a broken extra field": with_extra(bad, b"\1\0\xff\xff"),
    }.items()
    yield from {
        "leading junk": b"junk" + bad, "leading junk with right offsets": shifted(bad, b"junk"),
        "leading pickle": NESTED + bad, "leading pickle with right offsets": shifted(sound, NESTED),
        "leading zip": second + bad, "leading zip with right offsets": shifted(sound, second),
        "shell script": b"#!/bin/sh\ntouch marker\nexit\n" + bad, "ELF": b"\x7fELF" + bytes(60) + bad,
        "PDF": b"%PDF-1.4\n" + bad, "HTML": b"<script>0</script>" + bad, "Python zipapp": b"#!/usr/bin/python\n" + bad,
        "PNG": b"\x89PNG\r\n\x1a\n" + bad, "trailing junk": bad + b"junk", "trailing zeros": bad + bytes(1000),
        "trailing pickle": sound + NESTED, "trailing zip": sound + second,
        "trailing zip with right offsets": sound + shifted(second, sound)[len(sound):],
        "comment": zipped(evil, comment=b"touch marker"),
        "comment that is a pickle": zipped(good, comment=NESTED),
        "comment that is a zip": zipped(good, comment=second), "second end record": sound + sound[-END.size:],
        "second pickle after the first": zipped([(PKL, root + NESTED), *others]),
        "pickle before the first": zipped([(PKL, NESTED + root), *others]),
        "junk after the pickle": (zipped([(PKL, root + b"junk"), *others]), None),
        "hidden record before the directory": ended(sound, gap=hidden(second)),
        "pickle before the directory": ended(sound, gap=NESTED), "entries that lie": ended(bad, entries=1, here=1),
        "entries that differ": ended(bad, here=1), "another first disk": ended(bad, start_disk=1),
        "another disk of the end": ended(bad, disk=1), "size of the directory lies": ended(bad, size=46),
        "offset of the directory lies": ended(bad, offset=1), "offset behind the end": ended(bad, offset=1 << 31),
        "markers of 64 bits": ended(bad, offset=0xFFFFFFFF, size=0xFFFFFFFF, entries=0xFFFF),
        "a locator of 64 bits": bad[:-END.size] + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + bad[-END.size:],
        "cut in the middle": bad[:len(bad) // 2], "cut at the end": bad[:-1], "cut before the end record":
            bad[:-END.size], "twice": bad + bad, "zip in a zip": zipped([(PKL, bad), *others]),
    }.items()


def contained(folder, share):
    """Every container, or so many of them."""
    for number, (what, made) in enumerate(some(list(containers()), share)):
        data, names = made if isinstance(made, tuple) else (made, ("os.system|data.pkl|DATA.PKL|evil.pkl|.npy|.py",))
        path = folder / f"{number}.th"
        path.write_bytes(data)
        yield Attempt(what, path, names, False)


# The child --------------------------------------------------------------------------------------------------------

BAIT = f"""
open({MARKER!r}, 'w').close()
run = lambda *args: open({MARKER!r}, 'w').close()
same = lambda value: value
class Class: pass
"""
TRAPS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.putenv", "os.unsetenv",
         "os.kill", "os.startfile", "subprocess.Popen", "socket.", "ctypes.", "webbrowser.", "urllib.", "pty.",
         "pickle.find_class", "code.__new__", "function.__new__", "signal.", "sys.settrace", "sys.setprofile", "http.",
         "ftplib.", "smtplib.", "imaplib.", "poplib.", "telnetlib.", "sqlite3.", "builtins.input",
         "builtins.breakpoint", "compile", "_thread.start_new_thread", "cpython.run_", "gc.")
PATHS = ("shutil.", "tempfile.", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.rmdir",
         "os.truncate", "os.chmod")
CODE_OF_OURS = tuple(str(Path(path).resolve()) for path in {os.path.dirname(os.__file__), sys.base_prefix, sys.prefix,
                                                           Path(audiocraft_export.__file__).parent.parent})
LIBRARIES = ("audiocraft_export", "omegaconf", "antlr4", "yaml", "encodings")
WATCHED = {name.rpartition(".")[0].split(".")[0] for name in CALLS} - {"torch", "omegaconf", "audiocraft_export"}


class Watch:
    """What happens while an export is under way that must not.

    Args:
        folder: where the export may write.
    """

    def __init__(self):
        self.folder, self.events = None, []
        self.modules = set(sys.modules)
        sys.addaudithook(self.see)

    def see(self, event, args):
        if self.folder is None:
            return
        folder, self.folder = self.folder, None  # this very function may import and open
        try:
            found = self.judged(event, args, str(folder))
            if found:
                self.events.append(found)
        finally:
            self.folder = folder

    def judged(self, event, args, folder):
        if event.startswith(TRAPS):
            return f"{event} {args[:1]!r}"[:200]
        if event == "import" and args[0].split(".")[0] not in (*LIBRARIES, *sys.builtin_module_names) \
                and args[0].split(".")[0] not in getattr(sys, "stdlib_module_names", (args[0].split(".")[0],)):
            return f"import {args[0]}"
        if event == "exec" and not args[0].co_filename.startswith((*CODE_OF_OURS, "<frozen", "<attrs")):
            return f"exec {args[0].co_filename}"
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) \
                and not inside(args[0], folder):
            return f"open {args[0]}"
        if event.startswith(PATHS) and not beneath(args) and not all(inside(path, folder) for path in args):
            return f"{event} {args!r}"
        return None

    def news(self):
        """What the export has done that it must not, up to now."""
        found = [*self.events, *(["the marker"] if os.path.exists(MARKER) else [])]
        found += ["the environment"] if "INTRUDER" in os.environ or "intruder" in sys.modules else []
        found += [f"imported {name}" for name in set(sys.modules) - self.modules if name.split(".")[0] in WATCHED]
        self.events.clear()
        self.modules |= set(sys.modules)
        if os.path.isdir(MARKER) and not os.path.islink(MARKER):
            os.rmdir(MARKER)
        elif os.path.lexists(MARKER):
            os.remove(MARKER)
        os.environ.pop("INTRUDER", None)
        sys.modules.pop("intruder", None)
        return found


def beneath(args):
    """Whether paths are those in an open folder, which was seen when it was opened."""
    return any(isinstance(arg, int) and arg >= 0 for arg in args) and not os.path.isabs(args[0])


def inside(path, folder):
    """Whether a path is in the release folder, or in the staging folder beside it."""
    path = os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else None
    home = os.path.dirname(folder)
    return path is None or path in (folder, home) or path.startswith((folder + os.sep, f"{home}{os.sep}.export-"))


def extensions():
    """Codes for os.system as a process may have them, already in use."""
    import copyreg
    for code in (0xF0, 0x0FF0, 0x0F0FF0):
        copyreg._inverted_registry[code] = ("os", "system")
        getattr(copyreg, "_extension_cache", {})[code] = os.system


def watched_exports(folder):
    """Export the files that stdin names, one a line, and tell on stdout how it went."""
    import logging
    logging.disable(logging.CRITICAL)
    extensions()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    paths = [line.rstrip("\n") for line in sys.stdin]
    try:  # what is only loaded once is loaded now
        audiocraft_export.export_checkpoint(paths[0], folder / "warm")
    except audiocraft_export.ExportError:
        pass
    watch = Watch()
    for path in paths[1:]:
        watch.folder = folder / f"{Path(path).stem}.release"
        try:
            report = audiocraft_export.export_checkpoint(path, watch.folder)
            answer = {"outcome": "exported", "text": " | ".join(report.manifest.warnings)}
        except audiocraft_export.ExportError as exc:
            answer = {"outcome": "refused", "text": str(exc)}
        except BaseException as exc:
            answer = {"outcome": "raised", "text": f"{type(exc).__name__}: {str(exc)[:300]}"}
        watch.folder = None
        print(json.dumps({**answer, "done": watch.news()}), file=answers, flush=True)


def environ():
    homes = [Path(__file__).parents[1], Path(audiocraft_export.__file__).parents[1]]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUDIOCRAFT_", "DORA_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, homes)), "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1"}


def baited(folder):
    """A folder to stand in, with what payloads ask for."""
    folder.mkdir()
    code = BAIT.encode()
    for name, data in {"bait.py": code, "hubconf.py": code, "bait.pkl": NESTED, "bait.txt": b""}.items():
        (folder / name).write_bytes(data)
    return folder


def in_child(call, home, lines):
    """Call a function of this module in a child that stands in a baited folder; its answers, one a line."""
    result = subprocess.run([sys.executable, "-c", f"import sys; from torture import malice; malice.{call}"],
                            cwd=baited(home) if not home.exists() else home, env=environ(), text=True, timeout=300,
                            input="\n".join(map(str, lines)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [json.loads(line) for line in result.stdout.splitlines()]


def answers_of(good, attempts, folder):
    """What the child says of each attempt; None where it did not survive one."""
    answers = []
    while len(answers) < len(attempts):
        paths = [attempt.path for attempt in attempts[len(answers):]]
        said = in_child(f"watched_exports(malice.Path({str(folder)!r}))", folder / "home", [good, *paths])
        answers += said if len(said) == len(paths) else [*said, None]
    return answers


# The judge --------------------------------------------------------------------------------------------------------

def clear(said):
    return one_sentence(said) and said.isprintable() and len(said) <= LONGEST


def names_in(names, said):
    return [any(each in said for each in name.split("|")) for name in names or ()]


def released_equal(folder, good):
    """Whether a release is that of the good checkpoint, bit by bit."""
    left, right = ((path / "state_dict.bin") for path in (folder, good))
    if left.read_bytes() == right.read_bytes():
        return True
    from helpers import load, same
    left, right = load(left), load(right)
    weights = left.pop("best_state"), right.pop("best_state")
    tensors = isinstance(weights[0], dict) and all(isinstance(value, torch.Tensor) for value in weights[0].values())
    return tensors and left == right and same(*weights)


def exported(good):
    """The release of a good checkpoint of an attempt's own, if it has one that can be released."""
    try:
        return good and audiocraft_export.export_checkpoint(good, good.with_suffix(".sound")).folder
    except audiocraft_export.ExportError:
        return None


def trouble(attempt, answer, good):
    """What is wrong with an answer: a name of `never` and why; None if nothing is."""
    if answer is None or answer["done"]:
        return "executed or imported", answer["done"] if answer else "the process ended"
    said = answer["text"]
    found = names_in(attempt.names, said)
    if answer["outcome"] == "raised":
        return "unclear", said
    if answer["outcome"] == "refused":
        if not clear(said):
            return "unclear", f"no clear sentence: {said[:300]!r}"
        named_or_not_asked = not attempt.released or not attempt.names or any(found)
        return None if named_or_not_asked else ("unclear", f"names no intruder: {said}")
    if not released_equal(attempt.path.parent / f"{attempt.path.stem}.release", exported(attempt.good) or good):
        return "unclear", "another release"
    if attempt.names is not None and (not attempt.names or not all(found) or not clear(said)):
        return "unclear", f"exported, and its warnings are {said[:300]!r}"
    return None


def tried(what, make, folder, share):
    row = Row(what, never={"executed or imported": 0, "unclear": 0})
    good = checkpoint(folder / "good.th", good_state())
    audiocraft_export.export_checkpoint(good, folder / "good")
    (folder / "files").mkdir()
    attempts = list(make(folder / "files", share))
    for attempt, answer in zip(attempts, answers_of(good, attempts, folder / "files")):
        row.tried += 1
        wrong = trouble(attempt, answer, folder / "good")
        if wrong:
            row.count(wrong[0], f"{attempt.what}: {wrong[1]}")
        else:
            row.count("exported with a warning" if answer["outcome"] == "exported" else "refused in one sentence")
    return row


def malicious_pickles(folder, share=1.0):
    return tried("Nothing executed: malicious pickles", pickles, folder, share)


def malicious_containers(folder, share=1.0):
    return tried("Nothing executed: malicious containers", contained, folder, share)


TRIALS = (malicious_pickles, malicious_containers)


# The proof that it could ------------------------------------------------------------------------------------------

def loaded(load):
    """Load the files that stdin names without any care, each in a process of its own, and tell which wrote a marker."""
    extensions()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                with open(line.rstrip("\n"), "rb") as stream:
                    load(stream)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        print(json.dumps(os.path.exists(MARKER)), flush=True)
        if os.path.exists(MARKER):
            os.remove(MARKER)


def trusting(stream):
    return torch.load(stream, weights_only=False)


def executed_by_torch(folder):
    """The payloads of `REAL` that `torch.load` runs when they stand in a checkpoint's history."""
    paths = [checkpoint(folder / f"{number}.th", good_state(history=[PAYLOADS[name]]), PAYLOADS[name].protocol)
             for number, name in enumerate(REAL)]
    return executed(folder, paths, "malice.trusting")


def executed_by_pickle(folder):
    """The payloads of `REAL` that `pickle.load` runs when they are the whole pickle."""
    paths = [folder / f"{number}.pkl" for number in range(len(REAL))]
    for path, name in zip(paths, REAL):
        path.write_bytes(alone(PAYLOADS[name].opcodes, PAYLOADS[name].protocol))
    return executed(folder, paths, "malice.pickle.load")


def executed(folder, paths, load):
    answers = in_child(f"loaded({load})", folder / "home", paths)
    return [name for name, ran in zip(REAL, answers) if ran]

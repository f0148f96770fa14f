"""Payloads by name: opcodes that call forbidden functions, one payload per technique.

An executed payload writes the file `marker` to its current folder.
"""

import marshal
import pickle
import struct
from dataclasses import dataclass
from typing import Optional

MARKER = "marker"


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
    """Return a whole pickle of one object."""
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
        opcodes: any opcodes, which write the marker if they are executed.
        names: names that a message must have, each with alternatives; None if all globals are allowed, empty if the
            payload can only be refused.
        protocol: protocol of the pickle.
        leaves: the plain value that replaces the payload, if any.
    """

    opcodes: bytes
    names: Optional[tuple] = ()
    protocol: int = 2
    leaves: object = ...


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
    "timeit.timeit": (text("pass"), CODE),  # the code is the setup, which runs once
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
    """Give an allowed object a `__setstate__`, and then a state."""
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
        b"\x89", DICT), ("os.system|record data/0 is missing",)),
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
                            ("os.system|characters, got a dict|has no configuration",)),
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
REAL = (  # payloads that run with every Python and torch here, so that the trial can fail: see `malice.names_that_ran`
    "os.system", "posix.system", "builtins.eval", "__builtin__.eval", "builtins.exec", "builtins.open", "io.open",
    "subprocess.run", "subprocess.call", "bait.run", "importlib.import_module", "runpy.run_path", "timeit.timeit",
    "pickle.loads", "_pickle.loads", "pkgutil.resolve_name", "functools.partial", "operator.attrgetter",
    "_operator.methodcaller", "getattr chain", "getattr chain by __import__",
    "GLOBAL of a module that is not imported yet", "STACK_GLOBAL", "STACK_GLOBAL from the memo",
    "a callable from the memo", "INST", "OBJ", "NEWOBJ", "NEWOBJ of an allowed name", "NEWOBJ_EX",
    "BUILD with __setstate__ of argparse.Namespace", "BUILD with __setstate__ of collections.OrderedDict",
    "BUILD of a partial", "APPEND", "APPENDS", "ADDITEMS", "EXT1", "EXT2", "EXT4", "POP",
    "map and list", "code of marshal", "torch . os.system", "a tensor whose type is the callable",
    "a pickle in a pickle of torch", *(f"os.system in protocol {protocol}" for protocol in range(6)),
)

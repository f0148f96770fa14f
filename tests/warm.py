"""`python -m MODULE ARGS` that need not wait for its imports: a process that has them, and forks one for each command.

It has imported what a training imports that is not ours: torch, Dora, Flashy and Hydra; nothing of this package, and
nothing of a project. A command is a line of JSON on stdin; the pid of the fork and its exit code are lines on stdout.
"""

import atexit
import gc
import json
import os
import runpy
import subprocess
import sys
from importlib import import_module
from select import select
from tempfile import TemporaryFile

SERVER = None


def run(module, *args, cwd, env, timeout):
    """Run a module as `subprocess.run([sys.executable, "-m", module, *args], capture_output=True)` does."""
    global SERVER
    if SERVER is None:
        SERVER = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  bufsize=1, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        atexit.register(SERVER.communicate)  # it ends when its stdin is closed: with this process
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        streams = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (out, err)]
        SERVER.stdin.write(json.dumps([module, args, str(cwd), env, streams]) + "\n")
        pid = int(SERVER.stdout.readline())
        if not select([SERVER.stdout], [], [], timeout)[0]:
            os.kill(pid, 9)
            SERVER.stdout.readline()
            raise subprocess.TimeoutExpired([module, *args], timeout)
        code = int(SERVER.stdout.readline())
        return subprocess.CompletedProcess([module, *args], code, *(stream.seek(0) or stream.read()
                                                                    for stream in (out, err)))


def become(module, args, cwd, env, streams):
    """What `python -m` does once it has started."""
    for number, path in enumerate([os.devnull, *streams]):
        os.dup2(os.open(path, os.O_RDWR), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = os.getcwd()
    sys.argv[1:] = args
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def serve():
    """Fork for each line; of each line comes back what a fork is to become, in that fork."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            return json.loads(line)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    for name in ("torch", "flashy", "hydra.main", "dora.grid", "dora.info", "dora.launch", "dora.run"):
        import_module(name)
    gc.freeze()  # what is not looked at by the forks need not be copied
    if command := serve():
        become(*command)

"""Run `python -m MODULE ARGS` in a fork of a process that has the imports already.

The process has imported torch, Dora, Flashy, Hydra and what a caller adds, but neither this package nor a project. It
receives a command as JSON with the ends of two pipes, and answers with the process ID of the fork, and later with its
exit code.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module

IMPORTED = ("torch", "flashy", "hydra.main", "dora.grid", "dora.info", "dora.launch", "dora.run")


@cache
def server(others=()):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, __file__, str(there.fileno()), *IMPORTED, *others],
                               pass_fds=[there.fileno()], env={**os.environ, "PYTHONWARNINGS": "ignore"},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)  # pipes inherited by the forks
    there.close()
    atexit.register(process.communicate)
    atexit.register(here.close)  # closed first, which ends the process
    return here


def run(module, *args, cwd, env, timeout, others=()):
    """Do what `subprocess.run([sys.executable, "-m", module, *args], text=True, capture_output=True)` does.

    Args:
        others: names of modules to import in the first process, besides `IMPORTED`.
    """
    pipes, forks = [os.pipe() for _ in range(2)], server(others)
    forks.settimeout(timeout)
    socket.send_fds(forks, [json.dumps([module, args, str(cwd), env]).encode()], [end for _, end in pipes])
    for _, end in pipes:
        os.close(end)
    with ThreadPoolExecutor() as pool:
        said = [pool.submit(read, end) for end, _ in pipes]
        pid = int(forks.recv(99))
        try:
            code = int(forks.recv(99))
        except socket.timeout:
            os.kill(pid, signal.SIGKILL)
            forks.recv(99)
            raise
        return subprocess.CompletedProcess([module, *args], code, *(text.result() for text in said))


def read(pipe):
    with open(pipe) as stream:
        return stream.read()


# runs in the other process

def serve(commands):
    """Fork for each command, and run it in the fork."""
    while True:
        command, pipes, *_ = socket.recv_fds(commands, 1 << 20, 2)
        if not command:
            return None
        pid = os.fork()
        if not pid:
            commands.close()
            return [*json.loads(command), pipes]
        for pipe in pipes:
            os.close(pipe)
        commands.send(b"%d" % pid)
        commands.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def become(module, args, cwd, env, pipes):
    """Run a module as `python -m` does."""
    for number, stream in enumerate([os.open(os.devnull, os.O_RDONLY), *pipes]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = os.getcwd()
    sys.argv[1:] = args
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exc:
        if not isinstance(exc.code, (int, type(None))):
            raise
        code = exc.code or 0
    # Python would do the same, and then take a fifth of a second to delete all that was imported.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 255)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        import_module(name)
    gc.freeze()  # so that garbage collection in a fork does not copy shared memory
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    if command:
        become(*command)

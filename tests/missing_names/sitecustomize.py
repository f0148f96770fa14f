"""Take away what Windows lacks, before any other module is imported; worker processes import this file, too."""

import os
import signal
import sys

MISSING = {
    os: ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "pread", "mkfifo", "fork", "posix_fadvise", "chown",
         "getuid", "geteuid", "statvfs", "sched_getaffinity"),
    signal: ("SIGHUP", "SIGCONT", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGSTOP", "pthread_sigmask",
             "setitimer", "alarm"),
}
MODULES = ("fcntl", "resource", "pwd", "grp")

if __name__ == "sitecustomize":
    for module, names in MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    sys.modules.update(dict.fromkeys(MODULES))

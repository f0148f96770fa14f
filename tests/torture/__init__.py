"""Measure the guarantees: attacks, bombs, damage, faults and parallel exports, each tried many times.

`make torture` runs all trials and prints a table; `test_torture.py` runs a share of them.

Modules with trials, each with a list `TRIALS`:

- `malice`: no code in a file is executed. `payloads` has the opcodes, `checkpoints` writes one into a checkpoint, and
  `containers` has files around them.
- `bombs`: small files that are expensive to read.
- `damage`: bit flips; truncated, extended and overwritten files.
- `trainer`: checkpoints that are replaced or overwritten while they are exported.
- `kills`, `signals`: SIGKILL, SIGSTOP, SIGTERM and Ctrl-C at any point of an export.
- `errors`, `disks`: failing system calls; disks that are too small, or become full.
- `places`, `permissions`, `durability`: unusual release folders; permissions and owners; the order of fsync and rename.
- `crowds`: many processes that export at the same time.

Shared modules:

- `trials`: the row of the table that a trial fills, and the separate process of a trial that forks.
- `scene`: experiments, a folder with a release, and checks of its content.
- `child`: the command in a fork, plain or under strace.
- `inject`: wrappers of system functions, which let one call fail or send a signal.
"""

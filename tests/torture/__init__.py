"""The guarantees as figures: attacks, bombs, damage, faults and crowds, each tried many times and counted.

`make torture` runs all of it and prints one table; bounded runs are in `test_torture.py`.

Trials, each module with its list `TRIALS`:

- `malice`: nothing in a file is run. `payloads` has the opcodes, `checkpoints` puts one into a checkpoint, `containers`
  are files around them.
- `bombs`: files that cost far more to read than to send.
- `damage`: flipped bits, cut, grown and overwritten files.
- `trainer`: checkpoints that are replaced, or written over, while they are exported.
- `kills`, `signals`: SIGKILL, SIGSTOP, SIGTERM and Ctrl-C at any moment of an export.
- `errors`, `disks`: calls of the system that fail; disks that are too small, or become full.
- `places`, `permissions`, `durability`: odd release folders; modes and owners; the order of fsync and rename.
- `crowds`: many processes that export at once.

What they share:

- `trials`: the row of the table that a trial fills, and the process of its own in which it runs where it has to fork.
- `scene`: experiments, a folder with a release, and the judge of what is in it.
- `child`: the command in a fork, plain or under strace.
- `inject`: the functions of the system wrapped, so that one call of them fails or sends a signal.
"""

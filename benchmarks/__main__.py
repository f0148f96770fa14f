"""`python -m benchmarks`: run all benchmarks, print the table, and write it to RESULTS.md next to this file."""

import argparse
import logging
import os
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).parent


def main():
    """Run the benchmarks that the command line names, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*",
                        help="exports, stages, commands, batches, planning; default: all, written to RESULTS.md")
    parser.add_argument("--runs", type=int, default=5, help="runs of each benchmark; the median is reported")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build" / "bench",
                        help="working folder; needs about 15 GB")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)  # the demo writes to ./outputs
    warnings.simplefilter("ignore")
    logging.disable()

    from . import batches, commands, exports, growth, planning, report
    groups = {"exports": exports, "commands": commands, "batches": batches, "planning": planning}
    names = args.groups or [*groups, "stages"]
    stages = report.stage_table(exports.stages(args.runs)) if "stages" in names else ""
    rows = []
    for name in [name for name in names if name in groups]:
        for row in groups[name].rows(args.runs):
            print(*row.cells, sep="  ", file=sys.stderr, flush=True)
            rows.append(row)
    print(report.table(rows), stages, sep="\n\n")
    if not args.groups:
        (HERE / "RESULTS.md").write_text(TEXT.format(
            runs=args.runs, machine=report.machine(), table=report.table(rows), growth=growth.section(rows),
            stages=stages, day=datetime.now(timezone.utc).date()))


TEXT = """\
# What an export costs

Written by `make bench` on {day}. Each value is the median of {runs} runs, which alternate with those of the baseline.
Memory is measured once. AudioCraft's way, torch and safetensors are measured apart from the others, whose files they
drive out of the page cache. The page cache is warm. {machine}.

{table}

`export` calls `export_checkpoint` with all its checks: sha256 and fsync of the written files, and CRC-32 of all bytes,
read back from the disk. With `verify=cache` they are read back from memory. `cp + fsync` copies the file that the
export wrote, `sha256` hashes its bytes in memory: no export with a sha256 can be faster than the slower of the two.
`cp + fsync + read from the disk` reads the copy as soon as it is on the disk, which may be slower than at another time,
in one thread; the export reads in two.
"AudioCraft's way" does what `audiocraft.utils.export.export_lm` does: `torch.load` of the whole checkpoint, then
`torch.save`, without fsync and without checks. `torch.save` and `save_file` get the tensors in memory.

## Processor time

Seconds of all threads, by stage. `NaN/inf` counts values that are not finite, `digest` is the content digest, `other`
reads the pickle, casts, and runs the rest of Python.

{stages}

## Growth

{growth}
"""

if __name__ == "__main__":
    main()

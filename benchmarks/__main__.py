"""`python -m benchmarks`: measure everything, print the table, and write it to RESULTS.md beside this file."""

import argparse
import logging
import os
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).parent


def main():
    """Run the benchmarks of the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*",
                        help="exports, commands, batches, planning; default: all, written to RESULTS.md")
    parser.add_argument("--runs", type=int, default=5, help="of each, of which the median counts")
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build" / "bench", help="for some 15 GB")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(args.folder)  # where the demo has its outputs
    warnings.simplefilter("ignore")
    logging.disable()

    from . import batches, commands, exports, growth, planning, report
    groups = {"exports": exports, "commands": commands, "batches": batches, "planning": planning}
    rows = []
    for name in args.groups or groups:
        for row in groups[name].rows(args.runs):
            print(*row.cells, sep="  ", file=sys.stderr, flush=True)
            rows.append(row)
    print(report.table(rows))
    if not args.groups:
        (HERE / "RESULTS.md").write_text(TEXT.format(
            runs=args.runs, machine=report.machine(), table=report.table(rows), growth=growth.section(rows),
            day=datetime.now(timezone.utc).date()))


TEXT = """\
# What an export costs

Written by `make bench` on {day}: medians of {runs}, in turns with what each is compared with, warm cache unless it says
cold. {machine}.

{table}

`export` is `export_checkpoint` with all its checks: the CRC-32 of what is read, the sha256 and the fsync of what is
written, and the CRC-32 of that read back. `cp + fsync` copies the file that it wrote. AudioCraft's way is that of
`audiocraft.utils.export.export_lm`: `torch.load` of everything, `torch.save`; it syncs nothing and checks nothing.

## Growth

{growth}
"""

if __name__ == "__main__":
    main()

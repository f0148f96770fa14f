"""Print a table of all guarantees; exit with code 1 if one is violated."""

import argparse
import logging
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

MODULES = ("malice", "bombs", "damage", "flips", "trainer", "kills", "signals", "errors", "disks", "places",
           "permissions", "durability", "crowds", "signatures")


def main():
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("modules", nargs="*", default=MODULES, help=f"of {', '.join(MODULES)} (default: all)")
    parser.add_argument("--share", type=float, default=1.0, help="of the full number of trials")
    parser.add_argument("--out", type=Path, help="a file for the table, too")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows = []
    lines = ["| what was tried | attempts | violations | outcomes | seconds |", "| --- | ---: | --- | --- | ---: |"]
    print(*lines, sep="\n", flush=True)
    for name in args.modules:
        module = import_module(f"torture.{name}")
        for trial in module.TRIALS:
            begin = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="torture-") as folder:
                row = trial(Path(folder), args.share)
            rows.append(row)
            lines.append(f"| {row.what} | {row.attempts} | {listing(row.violations)} | {listing(row.outcomes)} | "
                         f"{time.monotonic() - begin:.0f} |")
            print(lines[-1], flush=True)
    for row in rows:
        for example in row.examples[:20]:
            print(f"{row.what}: {example}", file=sys.stderr)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    sys.exit(not all(row.good for row in rows))


def listing(counts):
    return ", ".join(f"{name} {count}" for name, count in counts.items())


if __name__ == "__main__":
    main()

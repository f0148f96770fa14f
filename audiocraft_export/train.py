"""Stock AudioCraft's main under `with_export`: `dora -P audiocraft_export run solver=... export=true`."""

from dora.log import fatal

from audiocraft_export import with_export
from audiocraft_export.formats.requirements import transformers_problem

try:
    from audiocraft import train
except Exception as exc:  # whatever AudioCraft or its configuration lacks here
    fatal(f"AudioCraft cannot be imported ({type(exc).__name__}: {' '.join(str(exc).split())}): " + (
        transformers_problem() or "install what it needs, and stand in the folder of its clone, which has its "
                                  "configuration (the wheel on PyPI has none)."))

main = with_export(train.main, module=__name__)
main.dora.grid_package = main.dora.grid_package or "audiocraft.grids"

if __name__ == "__main__":
    main()

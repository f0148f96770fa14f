"""AudioCraft's own main with `with_export`: `dora -P audiocraft_export run solver=... export=true`."""

from audiocraft_export import ExportError, with_export
from audiocraft_export.errors import describe_exception
from audiocraft_export.hooks.messages import fatal_errors
from audiocraft_export.requirements import transformers_problem

with fatal_errors():
    try:
        from audiocraft import train
    except Exception as exc:  # AudioCraft or its configuration may be incomplete in any way
        raise transformers_problem() or ExportError(
            "package-import-failed", f"Cannot import AudioCraft: {describe_exception(exc)}",
            "run this in the folder of a clone of AudioCraft, which has the configuration that its wheel lacks"
        ) from exc

main = with_export(train.main, module=__name__)
main.dora.grid_package = main.dora.grid_package or "audiocraft.grids"

if __name__ == "__main__":
    main()

"""Host: stock AudioCraft's main under `with_export`: `dora -P audiocraft_export run solver=... export=true`."""

from dora.log import fatal

from audiocraft_export import with_export

try:
    from audiocraft import train
except ImportError as exc:
    fatal(f"AudioCraft cannot be imported ({exc}): install it, or stand in the folder of its clone.")

main = with_export(train.main, module=__name__)
main.dora.grid_package = main.dora.grid_package or "audiocraft.grids"

if __name__ == "__main__":
    main()

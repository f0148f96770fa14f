"""A tiny but real Flashy + Dora + Hydra project: `dora -P audiocraft_export.demo run export=true`."""

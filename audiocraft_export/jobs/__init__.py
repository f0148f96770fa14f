"""Many exports at once: worker processes on this machine, or a Slurm job array."""

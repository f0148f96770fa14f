"""Run many exports in parallel: in worker processes on this machine, or as a Slurm job array."""

"""The entry point of the demo project, which Dora imports."""

import flashy
import torch
from dora import hydra_main

from audiocraft_export import with_export
from audiocraft_export.hooks.messages import fatal_errors
from audiocraft_export.requirements import transformers_problem

with fatal_errors():
    try:
        from .solver import DemoSolver
    except Exception as exc:  # FSDP of torch 2.1 imports transformers
        problem = transformers_problem()
        if problem is None:
            raise
        raise problem from exc


@with_export
@hydra_main(config_path="config", config_name="config", version_base="1.3")
def main(cfg):
    """Train the experiment that Dora started."""
    torch.manual_seed(cfg.seed)
    torch.set_num_threads(cfg.num_threads)
    flashy.setup_logging()
    flashy.distrib.init(backend="gloo")
    DemoSolver(cfg).run()


if __name__ == "__main__":
    main()

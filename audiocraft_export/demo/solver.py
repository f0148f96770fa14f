"""The demo solver: train, validate, keep the best state and write checkpoints, as AudioCraft's StandardSolver."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import flashy
import torch

from audiocraft_export import ExportMixin

from .model import CodebookLM, synthetic_codes
from .state import EMA, copy_state


class DemoSolver(ExportMixin, flashy.BaseSolver):
    """Train a CodebookLM on synthetic tokens."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg
        self.model: torch.nn.Module = CodebookLM(**cfg.lm)
        flashy.distrib.broadcast_model(self.model)
        if cfg.fsdp.use:
            if not flashy.distrib.is_distributed():
                raise ValueError("fsdp.use=true needs several workers: start them with `dora run -d`")
            from .sharding import Sharded  # imports FSDP, which takes half a second
            self.model = Sharded(self.model)
        has_ema = cfg.optim.ema.use and not cfg.fsdp.use
        self.ema = EMA(self.model, cfg.optim.ema.decay) if has_ema else None
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cfg.optim.lr)
        self.best_state: dict[str, Any] = {}
        self.fsdp_best_state: dict[str, Any] = {}
        self.register_stateful("model", "optimizer", "ema", "best_state", "fsdp_best_state")

    def run(self) -> None:
        """Train up to the configured number of epochs, from the last checkpoint if there is one."""
        self.restore()
        for _ in range(self.epoch, self.cfg.optim.epochs + 1):
            self.run_stage("train", self.train)
            with torch.no_grad(), self.ema.averaged_weights() if self.ema else nullcontext():
                metrics = self.run_stage("valid", self.valid)
                self.update_best_state(metrics["ce"])
            self.commit()

    def train(self) -> dict[str, float]:
        """Train for one epoch."""
        self.model.train()
        average = flashy.averager()
        metrics: dict[str, float] = {}
        for codes in self.log_progress("train", self.batches(self.cfg.optim.updates_per_epoch, seed=self.epoch)):
            loss = self.loss(codes)
            loss.backward()
            if not self.cfg.fsdp.use:
                flashy.distrib.sync_model(self.model)
            self.optimizer.step()
            self.optimizer.zero_grad()
            if self.ema:
                self.ema.step()
            metrics = average({"ce": loss.item()})
        return flashy.distrib.average_metrics(metrics, self.cfg.optim.updates_per_epoch)

    def valid(self) -> dict[str, float]:
        """Return the cross entropy, in nats per token, on the same sequences in every epoch."""
        self.model.eval()
        losses = [self.loss(codes).item() for codes in self.batches(self.cfg.dataset.valid_batches, seed=0)]
        return flashy.distrib.average_metrics({"ce": sum(losses) / len(losses)}, len(losses))

    def loss(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy of the model for tokens of shape `[B, K, T]`."""
        return torch.nn.functional.cross_entropy(self.model(codes).flatten(0, 2), codes.flatten())

    def batches(self, count: int, seed: int) -> Any:
        """Return the share of this worker of `count` batches of tokens of shape `[B, K, T]`."""
        cfg, workers = self.cfg, flashy.distrib.world_size()
        generator = torch.Generator().manual_seed(seed * workers + flashy.distrib.rank())
        return [synthetic_codes(cfg.dataset.batch_size // workers, cfg.lm.n_q, cfg.dataset.length, cfg.lm.card,
                                generator) for _ in range(count)]

    def update_best_state(self, ce: float) -> None:
        """Keep the current weights if their cross entropy is the lowest so far."""
        if ce > min((epoch["valid"]["ce"] for epoch in self.history), default=ce):
            return
        self.best_state["model"] = copy_state(self.model.state_dict())
        if self.cfg.fsdp.use:
            self.fsdp_best_state["model"] = copy_state(self.model.full_state_dict())

    def shard_path(self, path: Path) -> Path:
        """Return the path of the checkpoint of this rank; with FSDP, rank 1 stores its shard in `checkpoint.th.1`."""
        rank = flashy.distrib.rank()
        return path.with_name(f"{path.name}.{rank}") if rank and self.cfg.fsdp.use else path

    def commit(self, save_checkpoint: bool = True) -> None:
        """Store the metrics and, as configured, the checkpoints of this epoch."""
        epoch = self.epoch
        super().commit(save_checkpoint=False)
        if not save_checkpoint or not flashy.distrib.is_rank_zero() and not self.cfg.fsdp.use:
            return
        save = self.cfg.checkpoint
        paths = [self.checkpoint_path] if save.save_last else []
        if save.save_every and epoch % save.save_every == 0:
            paths.append(self.folder / f"checkpoint_{epoch}.th")
        for path in paths:
            with flashy.utils.write_and_rename(self.shard_path(path)) as stream:
                torch.save(self.state_dict(), stream)

    def restore(self) -> bool:
        """Load the last checkpoint of this XP; return whether it exists."""
        path = self.shard_path(self.checkpoint_path)
        if path.exists():
            self.load_state_dict(torch.load(path, "cpu"))
        return path.exists()

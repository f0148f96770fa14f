"""A small language model over codebooks, shaped like MusicGen's."""

import torch
from torch import nn


class CodebookLM(nn.Module):
    """A transformer that predicts the next token of each codebook.

    Args:
        card: tokens per codebook; the token `card` marks the start.
        n_q: codebooks.
        dim: width of the transformer.
        num_heads: attention heads.
        num_layers: layers.
    """

    def __init__(self, card: int, n_q: int, dim: int, num_heads: int, num_layers: int) -> None:
        super().__init__()
        self.card = card
        self.emb = nn.ModuleList([nn.Embedding(card + 1, dim) for _ in range(n_q)])
        layer = nn.TransformerEncoderLayer(dim, num_heads, 4 * dim, dropout=0., batch_first=True, norm_first=True)
        self.transformer = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.out_norm = nn.LayerNorm(dim)
        self.linears = nn.ModuleList([nn.Linear(dim, card, bias=False) for _ in range(n_q)])
        self.register_buffer("n_steps", torch.zeros((), dtype=torch.long))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return logits `[B, K, T, card]` for each step of `codes` (`[B, K, T]`), given the steps before it."""
        past = nn.functional.pad(codes[..., :-1], (1, 0), value=self.card)
        x = torch.stack([emb(past[:, k]) for k, emb in enumerate(self.emb)]).sum(dim=0)
        mask = nn.Transformer.generate_square_subsequent_mask(codes.shape[-1])
        x = self.out_norm(self.transformer(x, mask=mask, is_causal=True))
        return torch.stack([linear(x) for linear in self.linears], dim=1)


def synthetic_codes(batch_size: int, n_q: int, length: int, card: int, generator: torch.Generator) -> torch.Tensor:
    """Return tokens `[B, K, T]` that count up with one step size per codebook: easy to learn."""
    start = torch.randint(card, (batch_size, n_q, 1), generator=generator)
    step = torch.arange(1, n_q + 1).view(1, n_q, 1)
    return (start + step * torch.arange(length)) % card

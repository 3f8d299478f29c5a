"""A transformer of a few numbers, described, whose every weight a test can set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from potstill.transfer.anatomy import Anatomy, Axis, Chosen, Fixed, Reads, Units, Writes

HEAD = 2


class Attention(nn.Module):
    """Plain attention with a bias in its output."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * heads * HEAD, bias=False)
        self.o = nn.Linear(heads * HEAD, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, HEAD)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return self.o(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a feed-forward network, each after a norm."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.norm1, self.attention = nn.RMSNorm(width, eps=1e-12), Attention(width, heads)
        self.norm2, self.up, self.down = (
            nn.RMSNorm(width, eps=1e-12),
            nn.Linear(width, hidden),
            nn.Linear(hidden, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.up(self.norm2(x)).relu())


class Tiny(nn.Module):
    """Maps ``[B, T, 3]`` to ``[B, T, 2]``, in float64, with random weights (also of norms)."""

    def __init__(self, width: int, heads: int = 2, hidden: int = 6, depth: int = 2, seed: int = 0):
        super().__init__()
        self.width, self.embed = width, nn.Linear(3, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.norm, self.head = nn.RMSNorm(width, eps=1e-12), nn.Linear(width, 2)
        self.double().eval()
        generator = torch.Generator().manual_seed(seed)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def describe(module: Any) -> Anatomy:
    """The anatomy of a :class:`Tiny`."""
    axes: dict[str, tuple[Axis, ...]] = {
        "embed.weight": (Writes(), Fixed()),
        "embed.bias": (Writes(),),
        "head.weight": (Fixed(), Reads("norm")),
        "head.bias": (Fixed(),),
    }
    norms, units = ["norm"], {}
    for block in range(len(module.blocks)):
        at = f"blocks.{block}"
        norms += [f"{at}.norm1", f"{at}.norm2"]
        units[f"{at}.heads"] = Units("heads", module.blocks[block].attention.heads, f"{at}.attention.o")
        units[f"{at}.neurons"] = Units("neurons", module.blocks[block].up.out_features, f"{at}.down")
        axes[f"{at}.attention.qkv.weight"] = (Chosen(f"{at}.heads", HEAD, parts=3), Reads(f"{at}.norm1"))
        axes[f"{at}.attention.o.weight"] = (Writes(), Chosen(f"{at}.heads", HEAD))
        axes[f"{at}.attention.o.bias"] = (Writes(),)
        axes[f"{at}.up.weight"] = (Chosen(f"{at}.neurons"), Reads(f"{at}.norm2"))
        axes[f"{at}.up.bias"] = (Chosen(f"{at}.neurons"),)
        axes[f"{at}.down.weight"] = (Writes(), Chosen(f"{at}.neurons"))
        axes[f"{at}.down.bias"] = (Writes(),)
    return Anatomy(module.width, "blocks", tuple(norms), axes, units, module)


def inputs(seed: int = 1) -> list[Tensor]:
    """Three batches ``[4, 5, 3]``."""
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randn(3, 4, 5, 3, generator=generator, dtype=torch.float64))

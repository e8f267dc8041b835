"""Hard parameter sharing: one trunk for all tasks, one head each. The reference rival (Caruana 1997)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from biosig_mtl.models.network import Body, Joint, Network, NetworkSettings, TokenPool, tokens_of
from biosig_mtl.types import InputSpec


@dataclass(frozen=True)
class HardSharingSettings(NetworkSettings):
    """Settings of hard sharing: ``trunk_layers`` residual layers of width 2D follow the pooled embedding."""

    trunk_layers: int = 1

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        super().__post_init__()
        if self.trunk_layers < 0:
            raise ValueError(f"need trunk_layers >= 0, got {self.trunk_layers}")


class TrunkLayer(nn.Module):
    """x + MLP(LN(x)); (…, D) → (…, D)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 2 * width)
        self.drop = nn.Dropout(dropout)
        self.narrow = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Add the layer's answer to its input."""
        added: Tensor = self.narrow(self.drop(functional.gelu(self.wide(self.norm(x)))))
        return x + added


class SharedTrunk(Body):
    """Pool → shared layers → the same embedding for every task."""

    def __init__(self, tasks: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.tasks, self.width = tasks, width
        self.trunk = nn.Sequential(*(TrunkLayer(width, dropout) for _ in range(layers)))

    def forward(self, tokens: Tensor, pool: TokenPool) -> Joint:
        """Return one embedding (B, T, D), the same for all tasks."""
        pooled = self.trunk(pool(tokens))
        return Joint(pooled.unsqueeze(1).expand(-1, self.tasks, -1))


def hard_sharing(settings: HardSharingSettings, spec: InputSpec) -> Network:
    """Make the network."""
    s = settings
    tokens = tokens_of(s, spec)
    return Network(s, spec, tokens, SharedTrunk(len(spec.targets), s.width, s.trunk_layers, s.dropout))

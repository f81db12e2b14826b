"""A CLIP that a model uses and does not own."""

from typing import Callable

import torch
from torch import nn

from ovd.clip.loading import LoadedCLIP, load_clip


class FrozenTeacher(nn.Module):
    """Mixin: hold a frozen CLIP that follows the model between devices.

    It does so alone: whatever type the model's own weights get, CLIP keeps
    the precision that it was loaded with.

    It is no registered submodule, so it ends up neither in checkpoints nor in
    optimizers. Call :meth:`load_teacher` in ``__init__``.
    """

    teacher: LoadedCLIP

    def load_teacher(self, clip: str, precision: str = 'fp32') -> None:
        """Load a CLIP by name or file, see ``load_clip``."""
        # A dataclass, not a module: nn.Module leaves it alone.
        self.teacher = load_clip(clip, precision=precision)

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Let ``to`` and ``cuda`` reach CLIP too."""
        probe = fn(torch.empty(0, device=self.teacher.device))
        self.teacher.model.to(probe.device)
        return super()._apply(fn, recurse)

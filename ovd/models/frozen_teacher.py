"""A CLIP that a model uses and does not own."""
from typing import Callable

from torch import nn

from ovd.clip.loading import LoadedCLIP, load_clip


class FrozenTeacher(nn.Module):
    """Mixin: hold a frozen CLIP that follows the model between devices.

    It is no registered submodule, so it ends up neither in checkpoints nor in
    optimizers. Call :meth:`load_teacher` in ``__init__``.
    """

    teacher: LoadedCLIP

    def load_teacher(self, clip: str) -> None:
        """Load a CLIP by name or file, see ``load_clip``."""
        # A dataclass, not a module: nn.Module leaves it alone.
        self.teacher = load_clip(clip)

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Let ``to`` and ``cuda`` reach CLIP too."""
        self.teacher.model._apply(fn)
        return super()._apply(fn, recurse)

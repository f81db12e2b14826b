"""The image tower of a CLIP as code that PyTorch makes for this processor.

Shapes: B images, n side in pixels, D embedding size.
"""

import torch
from torch import Tensor, nn

from .image_tower import ImageTower, encode_vit

MAX_TOWERS = 256  # of a process


class _VisionTransformer(nn.Module):
    """A tower as a module, whose weights a compiler may take in."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, images: Tensor) -> Tensor:
        return encode_vit(self.visual, images)


class CompiledTower:
    """Encode images as an :class:`ImageTower` does, full batches faster.

    Passes over memory are joined, and weights held once more in the layout
    that the processor multiplies them in; so they must not change. A batch of
    another size is encoded by the tower itself, since each size would be
    compiled for itself. Compiling takes about half a minute.

    Args:
        tower (ImageTower): Of a vision transformer.
        batch_size (int): B.

    Raises:
        ValueError: If the tower is of another kind.
    """

    def __init__(self, tower: ImageTower, batch_size: int) -> None:
        if not tower.is_known:
            raise ValueError(
                'only vision transformers as openai-clip has them are '
                'compiled, and this CLIP has another image tower: set '
                'model.compiled=False'
            )
        self.tower = tower
        self.batch_size = batch_size
        module = _VisionTransformer(tower.model.visual).eval()
        self._encode = torch.compile(module, dynamic=False, fullgraph=True)

    def encode(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the features (B, D) of images, float32, not normalised.

        The first full batch is compiled for.

        Args:
            images (Tensor): (B, 3, n, n), normalised for this CLIP.
            dtype (torch.dtype): That of the weights of matrices.

        Raises:
            BackendCompilerFailed: If there is no C++ compiler, or it fails.
        """
        if len(images) != self.batch_size:
            return self.tower.encode(images, dtype)
        # Late, since the compiler takes seconds to import
        from torch import _dynamo, _inductor

        # In one layout, as another one would be compiled for
        images = images.to(dtype, memory_format=torch.channels_last)
        with (
            torch.no_grad(),
            # Read when it compiles: weights are constants of the code, and
            # each tower is one more compilation of the same lines.
            _inductor.config.patch(freezing=True),
            _dynamo.config.patch(recompile_limit=MAX_TOWERS),
        ):
            return self._encode(images)

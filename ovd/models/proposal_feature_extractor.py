"""A frozen CLIP that embeds the proposals of images."""

from typing import Any, Dict, Iterable, List, Optional, Sequence, Union

import numpy as np
from mmdet.registry import MODELS
from torch import Tensor

from ovd.clip.crops import CROP_MODES, plan_crops
from ovd.clip.encoder_speed import (
    EncoderSpeed,
    compile_encoder,
    measure_encoder,
    time_encoder,
    try_compiled,
    with_precision,
)
from ovd.clip.image_encoder import embed_boxes_of_images
from ovd.clip.loading import PRECISIONS
from ovd.models.frozen_teacher import FrozenTeacher
from ovd.suggest import check_choice

AUTO = 'auto'
# Seconds of encoding; compiling takes about half a minute
WORTH_COMPILING = 600


@MODELS.register_module()
class ProposalFeatureExtractor(FrozenTeacher):
    """Embed boxes of images with CLIP, as ViLD distils them.

    It has no weights of its own: CLIP follows it from device to device, but
    shows in no state dict and no list of parameters.

    Args:
        clip (str): Name or file of the CLIP.
        crop_scales (Sequence[float]): Side of a crop as a multiple of the
            box's. Defaults to ``(1.0, 1.5)``.
        crop_mode (str): ``'fast'``, or ``'clip'`` for the very pixels of
            openai-clip's transform. Defaults to ``'fast'``.
        batch_size (int | str): Crops that CLIP sees at once; ``'auto'`` is
            settled by :meth:`settle`. Defaults to 256.
        precision (str): CLIP's, see ``load_clip``, or ``'auto'``. Defaults
            to ``'fp32'``.
        compiled (bool | str): Whether CLIP's image tower is compiled, see
            :class:`~ovd.clip.compiled_tower.CompiledTower`; ``'auto'`` does
            it in :meth:`settle` or not at all. Defaults to False.

    Raises:
        FileNotFoundError: If there is no such CLIP.
        ValueError: If an option is none of those there are.
    """

    def __init__(
        self,
        clip: str,
        crop_scales: Sequence[float] = (1.0, 1.5),
        crop_mode: str = 'fast',
        batch_size: Union[int, str] = 256,
        precision: str = 'fp32',
        compiled: Union[bool, str] = False,
    ) -> None:
        super().__init__()
        check_choice(precision, [*PRECISIONS, AUTO], 'precision')
        check_choice(crop_mode, CROP_MODES, 'crop_mode')
        plan_crops(np.zeros((0, 4)), crop_scales)
        if batch_size != AUTO and (
            not isinstance(batch_size, int) or batch_size < 1
        ):
            raise ValueError(
                f'batch_size must be positive or "{AUTO}", got {batch_size!r}'
            )
        if compiled != AUTO and not isinstance(compiled, bool):
            raise ValueError(
                f'compiled must be True, False or "{AUTO}", got {compiled!r}'
            )
        self.load_teacher(clip, 'fp32' if precision == AUTO else precision)
        self.crop_scales = tuple(crop_scales)
        self.crop_mode = crop_mode
        self.batch_size = batch_size
        self.precision = precision
        self.compiled = compiled

    @property
    def settings(self) -> Dict[str, Any]:
        """What decides the embeddings, beside CLIP and the boxes."""
        settings = dict(
            crop_scales=self.crop_scales,
            crop_mode=self.crop_mode,
            batch_size=self.batch_size,
            precision=self.precision,
        )
        # Only then, so that stores of before there was the choice go on
        return dict(settings, compiled=True) if self.compiled else settings

    def settle(
        self,
        recorded: Optional[Dict[str, Any]] = None,
        crops: Optional[Tensor] = None,
        num_crops: float = 0,
    ) -> EncoderSpeed:
        """Replace ``'auto'`` by what was recorded, or else is fastest here.

        Args:
            recorded (dict, optional): ``precision``, ``batch_size`` and, if
                so, ``compiled`` that an earlier run settled.
            crops (Tensor, optional): uint8 (B, 3, n, n) to measure with.
            num_crops (float): How many there are to encode: compiling takes
                a while, and is tried where they take long on a CPU.

        Returns:
            EncoderSpeed: As measured, with what is used from now on.
        """
        for name in ('precision', 'batch_size', 'compiled'):
            if getattr(self, name) == AUTO and recorded:
                setattr(self, name, recorded.get(name, False))
        precision, batch_size = self.precision, self.batch_size
        measured: Optional[EncoderSpeed] = None
        if precision == AUTO or isinstance(batch_size, str):
            measured = measure_encoder(
                self.teacher,
                crops,
                None if precision == AUTO else [precision],
                None if isinstance(batch_size, str) else [batch_size],
            )[0]
            precision, batch_size = measured.precision, measured.batch_size
        choose, compiled = self.compiled == AUTO, self.compiled is True
        self.use(precision, batch_size, compiled)
        if measured is None or compiled:
            measured = time_encoder(self.teacher, batch_size, crops)
        seconds = num_crops / measured.crops_per_second
        if (
            choose
            and self.teacher.device.type == 'cpu'
            and seconds > WORTH_COMPILING
        ):
            self.teacher, measured = try_compiled(
                self.teacher, measured, crops
            )
            self.compiled = measured.compiled
        return measured

    def use(self, precision: str, batch_size: int, compiled: bool) -> None:
        """Take this precision, batch size and code from now on.

        Raises:
            ValueError: If CLIP can't be compiled.
        """
        self.teacher = with_precision(self.teacher, precision)
        if compiled and self.teacher.compiled_for != batch_size:
            self.teacher = compile_encoder(self.teacher, batch_size)
        self.precision, self.batch_size = precision, batch_size
        self.compiled = compiled

    def forward(
        self, images: Iterable[np.ndarray], bboxes_list: Sequence[np.ndarray]
    ) -> List[Tensor]:
        """Embed the boxes of N images.

        Args:
            images (Iterable[ndarray]): N times (H, W, 3) uint8 RGB, taken
                one at a time.
            bboxes_list (Sequence[ndarray]): N times (P, 4) xyxy in pixels of
                the image.

        Returns:
            list[Tensor]: N times (P, D) float32 of unit norm, on the CPU.

        Raises:
            ValueError: If precision or batch size are still ``'auto'``.
        """
        if self.precision == AUTO or isinstance(self.batch_size, str):
            raise ValueError(
                f'precision or batch_size is "{AUTO}": settle() '
                'first, or give them'
            )
        return embed_boxes_of_images(
            self.teacher,
            images,
            bboxes_list,
            self.crop_scales,
            self.batch_size,
            self.crop_mode,
        )

"""A frozen CLIP that embeds the proposals of images."""
from typing import Iterable, List, Sequence

import numpy as np
from mmdet.registry import MODELS
from torch import Tensor

from ovd.clip.image_encoder import embed_boxes_of_images
from ovd.models.frozen_teacher import FrozenTeacher


@MODELS.register_module()
class ProposalFeatureExtractor(FrozenTeacher):
    """Embed boxes of images with CLIP, as ViLD distils them.

    It has no weights of its own: CLIP follows it from device to device, but
    shows in no state dict and no list of parameters.

    Args:
        clip (str): Name or file of the CLIP.
        crop_scales (Sequence[float]): Side of a crop as a multiple of the
            box's. Defaults to ``(1.0, 1.5)``.
        batch_size (int): Crops that CLIP sees at once. Defaults to 256.
        precision (str): CLIP's, see ``load_clip``. Defaults to ``'fp32'``.
    """

    def __init__(self,
                 clip: str,
                 crop_scales: Sequence[float] = (1.0, 1.5),
                 batch_size: int = 256,
                 precision: str = 'fp32') -> None:
        super().__init__()
        self.load_teacher(clip, precision)
        self.crop_scales = tuple(crop_scales)
        self.batch_size = batch_size

    def forward(self, images: Iterable[np.ndarray],
                bboxes_list: Sequence[np.ndarray]) -> List[Tensor]:
        """Embed the boxes of N images.

        Args:
            images (Iterable[ndarray]): N times (H, W, 3) uint8 RGB, taken
                one at a time.
            bboxes_list (Sequence[ndarray]): N times (P, 4) xyxy in pixels of
                the image.

        Returns:
            list[Tensor]: N times (P, D) float32 of unit norm, on the CPU.
        """
        return embed_boxes_of_images(self.teacher, images, bboxes_list,
                                     self.crop_scales, self.batch_size)

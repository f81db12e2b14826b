"""Images encoded once: what a detector computes before it needs names.

Shapes: N images of one batch, P proposals of an image.
"""

import copy
import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from itertools import chain
from typing import Dict, Iterator, List, Sequence, Tuple

import cv2
import torch
from mmcv.transforms import Compose
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import DetDataSample, SampleList
from mmdet.utils import get_test_pipeline_cfg
from mmengine.structures import InstanceData
from torch import Tensor

from .image_sources import SourceImage

Key = Tuple[str, int]
# What features and proposals come from
FIRST_STAGE = ('data_preprocessor', 'backbone', 'neck', 'rpn_head')


@dataclass(frozen=True)
class EncodedImage:
    """What is known of an image before any name.

    Args:
        features (tuple[Tensor]): (1, C', H, W) of each level.
        proposals (InstanceData): P boxes in pixels of the network input.
        metainfo (dict): How the network input was made of the image.
    """

    features: Tuple[Tensor, ...]
    proposals: InstanceData
    metainfo: dict

    @property
    def input_hw(self) -> Tuple[int, int]:
        """Height and width of what the network saw."""
        return tuple(self.metainfo['batch_input_shape'])


class ImageMemory:
    """Encodes images, and keeps the features and proposals of the last ones.

    They are found by their pixels, wherever these come from, and are
    forgotten when a weight of the model changes.

    Args:
        model (TwoStageDetector): In eval mode, with its config as ``cfg``.
        size (int): How many images to keep.
    """

    def __init__(self, model: TwoStageDetector, size: int) -> None:
        self.model = model
        self.size = size
        steps = copy.deepcopy(get_test_pipeline_cfg(model.cfg))
        steps[0]['type'] = 'mmdet.LoadImageFromNDArray'
        self._pipeline = Compose(steps)
        self._kept: 'OrderedDict[Key, EncodedImage]' = OrderedDict()

    @torch.no_grad()
    def encode(
        self, images: Sequence[SourceImage], batch_size: int
    ) -> List[EncodedImage]:
        """Encode images, those of one size together.

        Args:
            images (Sequence[SourceImage]): Images of any sizes.
            batch_size (int): Most images in a batch.

        Raises:
            ValueError: If the pipeline of the config can't take an image.
        """
        state = self._state()
        keys = [(_digest(image), state) for image in images]
        found: Dict[Key, EncodedImage] = {}
        new: Dict[Key, dict] = {}
        for key, image in zip(keys, images):
            if key in self._kept:
                found[key] = self._kept[key]
            elif key not in new:
                new[key] = self._prepare(image)
        shapes = {
            key: tuple(data['inputs'].shape[-2:]) for key, data in new.items()
        }
        for batch in batches(shapes, batch_size):
            found.update(zip(batch, self._encode([new[k] for k in batch])))
        self._keep(keys, found)
        return [found[key] for key in keys]

    def _prepare(self, image: SourceImage) -> dict:
        """Return an image as the network takes it."""
        try:
            return self._pipeline(dict(img=image.bgr, img_id=0))
        except cv2.error as error:  # a side of no pixels
            height, width = image.bgr.shape[:2]
            raise ValueError(
                f'{image.path or "the image"} has {width} x {height} pixels, '
                'which the test pipeline of the config can not resize: is it '
                f'too thin for the network? ({error})'
            ) from error

    def _encode(self, batch: Sequence[dict]) -> List[EncodedImage]:
        """Run the first stage on N images of one size."""
        data = self.model.data_preprocessor(
            dict(
                inputs=[item['inputs'] for item in batch],
                data_samples=[item['data_samples'] for item in batch],
            )
        )
        samples = data['data_samples']
        features = self.model.extract_feat(data['inputs'])
        proposals = self.model.rpn_head.predict(
            features, samples, rescale=False
        )
        return [
            EncodedImage(
                tuple(level[i : i + 1] for level in features),
                proposals[i],
                samples[i].metainfo,
            )
            for i in range(len(samples))
        ]

    def _keep(
        self, keys: Sequence[Key], found: Dict[Key, EncodedImage]
    ) -> None:
        """Keep the last images, and nothing else of their batches."""
        for key in dict.fromkeys(keys):
            self._kept.pop(key, None)
            self._kept[key] = found[key]
        while len(self._kept) > self.size:
            self._kept.popitem(last=False)
        for key, one in self._kept.items():
            if key in found:
                self._kept[key] = EncodedImage(
                    tuple(map(_own_storage, one.features)),
                    one.proposals,
                    one.metainfo,
                )

    def _state(self) -> int:
        """Return what changes with the weights of the first stage."""
        parts = [
            getattr(self.model, name)
            for name in FIRST_STAGE
            if hasattr(self.model, name)
        ]
        return hash(
            tuple(
                (tensor.data_ptr(), tensor._version)
                for part in parts
                for tensor in chain(part.parameters(), part.buffers())
            )
        )


def _digest(image: SourceImage) -> str:
    digest = hashlib.blake2b(repr(image.bgr.shape).encode(), digest_size=16)
    digest.update(image.bgr.tobytes())
    return digest.hexdigest()


def _own_storage(level: Tensor) -> Tensor:
    """Return a copy of what is part of a larger tensor."""
    return (
        level.clone()
        if level.untyped_storage().nbytes()
        > level.numel() * level.element_size()
        else level
    )


def batches(shapes: Dict, batch_size: int) -> Iterator[list]:
    """Yield lists of keys whose values are equal, of limited length."""
    groups: Dict = {}
    for key, shape in shapes.items():
        groups.setdefault(shape, []).append(key)
    for group in groups.values():
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


@torch.no_grad()
def detect(
    model: TwoStageDetector,
    encoded: Sequence[EncodedImage],
    images: Sequence[SourceImage],
) -> SampleList:
    """Run the second stage on N images of one size.

    Args:
        model (TwoStageDetector): In eval mode.
        encoded (Sequence[EncodedImage]): Of :meth:`ImageMemory.encode`.
        images (Sequence[SourceImage]): The same images.

    Returns:
        SampleList: With detections in pixels of the original images.
    """
    samples = [
        DetDataSample(metainfo=dict(one.metainfo, img_path=image.path))
        for one, image in zip(encoded, images)
    ]
    features = (
        encoded[0].features
        if len(encoded) == 1
        else tuple(
            torch.cat(levels)
            for levels in zip(*(one.features for one in encoded))
        )
    )
    results = model.roi_head.predict(
        features, [one.proposals for one in encoded], samples, rescale=True
    )
    return model.add_pred_to_datasample(samples, results)

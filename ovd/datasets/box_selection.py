"""Which boxes of an image CLIP is to embed.

Shapes: P proposals of an image, G ground-truth boxes, B boxes in all. Frame:
xyxy in pixels of the original image.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import torch
from torchvision.ops import nms

from ovd.artifacts.embedding_store import BOX_KINDS
from ovd.artifacts.proposals import Entry, select_proposals
from ovd.suggest import check_choice

# Rounding may put a box this many pixels over the edge of its image.
TOLERANCE = 1.0

_NUMBER = (int, float)
_TYPES: Dict[str, Tuple[type, ...]] = dict(
    num_max=(int, type(None)),
    min_size=_NUMBER,
    nms_iou=(*_NUMBER, type(None)),
    ground_truth=(bool,),
    jitter=(int,),
    jitter_scale=_NUMBER,
    seed=(int,),
    whole_image=(bool,),
)


class OutsideError(ValueError):
    """A proposal lies outside its image."""


@dataclass(frozen=True)
class BoxSelection:
    """The boxes of an image, in this order, each with its kind.

    Args:
        num_max (int, optional): The proposals of the highest scores; None
            takes all. Defaults to None.
        min_size (float): Shortest side of a proposal in pixels. Boxes
            without an area are left out in any case. Defaults to 0.
        nms_iou (float, optional): Leave out proposals that overlap a better
            one by more than this IoU; None keeps them. Defaults to None.
        ground_truth (bool): The annotated boxes too, but for crowds, with a
            score of 1 (DetPro). Defaults to False.
        jitter (int): Copies of each annotated box whose centre and sides are
            moved by chance. Defaults to 0.
        jitter_scale (float): By how much at most, as a fraction of the
            sides. Defaults to 0.2.
        seed (int): Of the chance; each image has its own. Defaults to 0.
        whole_image (bool): The image as one box more, with a score of 1; its
            crop is the image at every scale. Defaults to False.

    Raises:
        ValueError: If an option is of another type, or out of its range.
    """

    num_max: Optional[int] = None
    min_size: float = 0.0
    nms_iou: Optional[float] = None
    ground_truth: bool = False
    jitter: int = 0
    jitter_scale: float = 0.2
    seed: int = 0
    whole_image: bool = False

    def __post_init__(self) -> None:
        for name, types in _TYPES.items():
            value = getattr(self, name)
            # bool is an int to Python
            if not isinstance(value, types) or (
                isinstance(value, bool) and bool not in types
            ):
                raise ValueError(
                    f'{name} must be of type '
                    f'{" or ".join(item.__name__ for item in types)}, got '
                    f'{value!r}'
                )
        for name, good, what in (
            (
                'num_max',
                self.num_max is None or self.num_max > 0,
                'positive or None',
            ),
            ('min_size', self.min_size >= 0, '0 or more'),
            (
                'nms_iou',
                self.nms_iou is None or 0 < self.nms_iou <= 1,
                'in (0, 1] or None',
            ),
            ('seed', self.seed >= 0, '0 or more'),
            ('jitter', self.jitter >= 0, '0 or more'),
            ('jitter_scale', 0 < self.jitter_scale < 1, 'in (0, 1)'),
        ):
            if not good:
                raise ValueError(
                    f'{name} must be {what}, got {getattr(self, name)}'
                )

    @classmethod
    def from_options(
        cls, options: Mapping[str, Any], has_proposals: bool
    ) -> 'BoxSelection':
        """Return the selection that a config describes.

        Args:
            options (Mapping): Arguments of this class.
            has_proposals (bool): Whether there are proposals to select from.

        Raises:
            ValueError: If an option is unknown, or no box would be selected.
        """
        for name in options:
            check_choice(
                name,
                [field.name for field in fields(cls)],
                'an option of boxes',
            )
        selection = cls(**options)
        if not (
            has_proposals
            or selection.ground_truth
            or selection.jitter
            or selection.whole_image
        ):
            raise ValueError(
                'there is nothing to embed: give proposals, or boxes with '
                'ground_truth=True, jitter or whole_image=True'
            )
        return selection

    def settings(self, has_proposals: bool = True) -> Dict[str, Any]:
        """Return what decides the boxes, without what has no effect."""
        settings = asdict(self)
        settings['min_size'] = float(self.min_size)
        if not has_proposals:
            for name in ('num_max', 'min_size', 'nms_iou'):
                settings.pop(name)
        if not self.jitter:
            settings.pop('jitter_scale')
            settings.pop('seed')
        return settings

    def select(
        self,
        image_id: int,
        proposals: Optional[Entry],
        ground_truth: np.ndarray,
        size_hw: Tuple[int, int],
    ) -> Dict[str, np.ndarray]:
        """Return ``bboxes`` (B, 4), ``scores`` and ``kinds`` (B,).

        Args:
            image_id (int): Decides the jitter.
            proposals (dict, optional): ``bboxes`` (P, 4), ``scores`` (P,).
            ground_truth (ndarray): (G, 4).
            size_hw (tuple[int]): Height and width of the image.

        Raises:
            OutsideError: If a proposal lies outside the image.
        """
        height, width = size_hw
        limits = np.array([width, height] * 2, np.float32)
        parts: List[Tuple[np.ndarray, np.ndarray, str]] = []
        if proposals is not None:
            _check_inside(proposals['bboxes'], limits)
            found = self._thin_out(proposals)
            parts.append((found['bboxes'], found['scores'], 'proposal'))
        boxes = _with_area(ground_truth.clip(0, limits))
        if self.ground_truth:
            parts.append((boxes, np.ones(len(boxes)), 'ground_truth'))
        if self.jitter:
            moved = _with_area(self._move(image_id, boxes).clip(0, limits))
            parts.append((moved, np.ones(len(moved)), 'jittered'))
        if self.whole_image:
            parts.append(
                (np.array([[0, 0, width, height]]), np.ones(1), 'image')
            )
        return dict(
            bboxes=np.concatenate(
                [np.zeros((0, 4)), *(part[0] for part in parts)]
            ).astype(np.float32),
            scores=np.concatenate(
                [np.zeros(0), *(part[1] for part in parts)]
            ).astype(np.float32),
            kinds=np.repeat(
                np.array(
                    [BOX_KINDS.index(part[2]) for part in parts], np.uint8
                ),
                np.array([len(part[1]) for part in parts], np.int64),
            ),
        )

    def _thin_out(self, proposals: Entry) -> Entry:
        """Return the proposals to embed, best score first."""
        if self.nms_iou is None:
            return select_proposals(proposals, self.num_max, self.min_size)
        found = select_proposals(proposals, None, self.min_size)
        kept = nms(
            torch.tensor(found['bboxes']),
            torch.tensor(found['scores']),
            self.nms_iou,
        )[: self.num_max].numpy()
        return {name: array[kept] for name, array in found.items()}

    def _move(self, image_id: int, boxes: np.ndarray) -> np.ndarray:
        """Return ``jitter`` moved copies of (G, 4), copy by copy."""
        rng = np.random.default_rng([self.seed, image_id])
        boxes = np.tile(boxes, (self.jitter, 1)).astype(np.float64)
        sides = boxes[:, 2:] - boxes[:, :2]
        centres = (boxes[:, 2:] + boxes[:, :2]) / 2
        scale = self.jitter_scale
        centres += sides * rng.uniform(-scale, scale, sides.shape)
        sides *= 1 + rng.uniform(-scale, scale, sides.shape)
        return np.concatenate([centres - sides / 2, centres + sides / 2], 1)


def annotated_boxes(info: Mapping[str, Any]) -> np.ndarray:
    """Return the boxes (G, 4) of what the host's datasets say of an image.

    Crowds are left out.
    """
    boxes = [
        instance['bbox']
        for instance in info.get('instances', ())
        if not instance.get('ignore_flag')
    ]
    return np.array(boxes, np.float32).reshape(-1, 4)


def _check_inside(bboxes: np.ndarray, limits: np.ndarray) -> None:
    """Raise a ValueError unless all boxes (P, 4) are in their image."""
    outside = (bboxes < -TOLERANCE).any(1) | (bboxes > limits + TOLERANCE).any(
        1
    )
    if outside.any():
        raise OutsideError(
            f'the box {bboxes[outside][0].tolist()} lies outside the image '
            f'of {limits[0]:.0f} x {limits[1]:.0f} pixels: is it of another '
            'image?'
        )


def _with_area(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes (G, 4) that have an area."""
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]

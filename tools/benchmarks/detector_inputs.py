"""Random boxes, scores, names and images for a detector."""

import argparse
from pathlib import Path
from typing import Dict, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

EMBED_DIMS = 512


def unit_rows(*shape: int) -> Tensor:
    """Return random vectors of unit length."""
    return F.normalize(torch.randn(*shape), dim=-1)


def draw_boxes(number: int, image: Tuple[int, int]) -> Tensor:
    """Return boxes (number, 4) xyxy in an image of (width, height).

    Coordinates are multiples of 1/4: the host's NMS, which shifts boxes by
    their class, does not round them.
    """
    size = torch.tensor(image)
    centres = torch.rand(number, 2) * size
    # Sides from 2 to 60 % of the image's, small ones more often
    sides = size * 0.02 * 30 ** torch.rand(number, 2)
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1)
    boxes = (boxes.clamp(min=0).minimum(size.repeat(2)) * 4).round() / 4
    boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 1)
    return boxes


def draw_clusters(
    number: int, image: Tuple[int, int], classes: int, clusters: int
) -> Tuple[Tensor, Tensor]:
    """Return boxes and scores as many proposals for few objects have them.

    Args:
        number (int): R, of boxes.
        image (tuple[int, int]): Width and height.
        classes (int): C.
        clusters (int): Of boxes that overlap and look alike.

    Returns:
        tuple: Boxes (R, 4) on the grid of :func:`draw_boxes`, and scores
        (R, C + 1).
    """
    objects = torch.randint(clusters, (number,))
    boxes = draw_boxes(clusters, image)[objects]
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    boxes += (torch.rand(number, 4) - 0.5) / 5 * sides
    boxes = (boxes.clamp(min=0) * 4).round() / 4
    boxes[:, 2:] = boxes[:, 2:].maximum(boxes[:, :2] + 1)
    regions = unit_rows(clusters, EMBED_DIMS)[objects]
    return boxes, draw_scores(
        regions + 0.3 * unit_rows(number, EMBED_DIMS), classes
    )


def draw_scores(regions: Tensor, classes: int) -> Tensor:
    """Return the softmax (R, C + 1) of region embeddings (R, D)."""
    cosines = (
        F.normalize(regions, dim=1) @ unit_rows(classes + 1, EMBED_DIMS).T
    )
    return (cosines / 0.01).softmax(dim=1)


def save_vocabulary(path: Path, number: int) -> List[str]:
    """Write class embeddings of ``number`` names; return these."""
    from ovd.artifacts.class_embeddings import ClassEmbeddings

    names = [f'name {i}' for i in range(number)]
    ClassEmbeddings(
        names,
        unit_rows(number, EMBED_DIMS),
        dict(name='generated', sha256='0' * 64),
        'generated',
    ).save(path)
    return names


def make_batch(args: argparse.Namespace) -> Dict[str, list]:
    """Return an image with ten objects and boxes to distil."""
    from mmdet.testing import demo_mm_inputs
    from mmengine.structures import InstanceData

    width, height = args.image
    data = demo_mm_inputs(
        1, [(3, height, width)], num_items=[10], num_classes=80, with_mask=True
    )
    sample = data['data_samples'][0]
    sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
    sample.distill_instances = InstanceData(
        bboxes=draw_boxes(args.distilled, args.image),
        embeddings=unit_rows(args.distilled, EMBED_DIMS),
    )
    sample.to(args.device)
    return data

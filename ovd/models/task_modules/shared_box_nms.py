"""NMS of boxes that all classes share, at a cost that names hardly add to.

Shapes: R RoIs, C foreground classes, B of them at once, M detections.
"""

from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmdet.models.layers import multiclass_nms
from mmdet.utils import ConfigType
from torch import Tensor
from torchvision.ops import box_iou

MAX_PAIRS = 2**16  # of boxes, compared at once
MAX_SCORES = 2**19  # of boxes and classes, copied at once
BITS = 64  # of an int64
NONE = float('-inf')  # for what can't be detected (any more)

Candidates = Tuple[Tensor, Tensor]  # (M,) scores and places, RoI * C + label


def shared_box_nms(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    nms_cfg: Optional[ConfigType],
    max_per_img: int,
) -> Tuple[Tensor, Tensor]:
    """Return what the host's ``multiclass_nms`` does, faster.

    The host runs one NMS per class over all R * C pairs of a box and a class.
    But the boxes of all classes are the same, and so are their overlaps,
    which are computed once. And no NMS drops the best box of a class: where
    ``max_per_img`` classes have a better one, none of a class's boxes is
    among the best. So few classes are looked at, whatever boxes and scores
    are like. Of equal scores, the first in row-major order comes first, as
    in the host.

    Beside the results it takes memory for the overlaps (R * R bytes) and for
    some copies of up to `MAX_SCORES` scores, however many there are.

    Results differ from the host's where that rounds: it shifts the boxes of
    class c by ``c * (bboxes.max() + 1)`` to keep the classes apart, in the
    dtype of the boxes. In float32, class 1,000 of an image of 1,333 pixels
    lies on a grid of 1/8 pixel (and negative coordinates overlap with the
    class before). Here nothing is shifted.

    Any other NMS than ``dict(type='nms', iou_threshold=...)``, boxes per
    class, and a single class are left to the host.

    Args:
        bboxes (Tensor): (R, 4) xyxy, of all classes.
        scores (Tensor): (R, C + 1); the last column, background, is ignored.
        score_thr (float): Scores must exceed it.
        nms_cfg (ConfigType, optional): Of the host's ``batched_nms``.
        max_per_img (int): Most detections; no limit if it isn't positive.

    Returns:
        tuple: Boxes with scores (M, 5) by falling score, and labels (M,).
    """
    if nms_cfg is None or not _is_plain(bboxes, scores, nms_cfg):
        return multiclass_nms(bboxes, scores, score_thr, nms_cfg, max_per_img)
    num_classes = scores.size(1) - 1
    places = _search(
        bboxes.to(torch.promote_types(bboxes.dtype, scores.dtype)),
        scores[:, :-1],
        score_thr,
        nms_cfg['iou_threshold'],
        max_per_img,
    )
    rois, labels = places // num_classes, places % num_classes
    dets = torch.cat([bboxes[rois], scores[rois, labels][:, None]], dim=1)
    return dets, labels


def _is_plain(bboxes: Tensor, scores: Tensor, nms_cfg: ConfigType) -> bool:
    """Tell whether these are shared boxes of classes, the NMS common."""
    return (
        'iou_threshold' in nms_cfg
        and set(nms_cfg) <= {'type', 'iou_threshold'}
        and nms_cfg.get('type', 'nms') == 'nms'
        and bboxes.size(1) == 4
        and scores.size(1) > 2
    )


@torch.no_grad()
def _search(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    iou_threshold: float,
    limit: int,
) -> Tensor:
    """Return the places of the detections among R boxes and C classes."""
    num_rois, num_classes = scores.shape
    labels = torch.arange(num_classes, device=scores.device)
    kept = scores.new_empty(0), labels[:0]
    if num_rois == 0:
        return kept[1]
    overlaps = _overlaps(bboxes, iou_threshold)
    found = [kept]
    if limit > 0:
        labels = _best_classes(scores, score_thr, limit)
    for part in labels.split(max(MAX_SCORES // num_rois, 1)):
        rows = scores.T[part].contiguous()
        rows.masked_fill_(~(rows > score_thr), NONE)  # NaN, too
        if limit > 0:
            kept = _first(rows, part, overlaps, num_classes, kept, limit)
        else:
            found.append(_all(rows, part, overlaps, num_classes))
    if limit > 0:
        return kept[1]
    values, places = map(torch.cat, zip(*found))
    return places[_order(values, places)]


def _best_classes(scores: Tensor, score_thr: float, limit: int) -> Tensor:
    """Return the labels of classes that may have detections, best ones first.

    They are more than ``limit`` where several have the same best score, or
    scores are no numbers.
    """
    best = scores.amax(dim=0)
    unknown = best.isnan()
    best.masked_fill_(~(best > score_thr), NONE)
    best, labels = best.sort(descending=True)
    least = best[min(limit, len(best)) - 1]
    return labels[(best >= least) & (best > NONE) | unknown[labels]]


def _overlaps(bboxes: Tensor, iou_threshold: float) -> Tensor:
    """Return (R, R) bool: which boxes can't both be of one class.

    Boxes without area have an IoU of 0 or NaN, and overlap with none but
    themselves, as in torchvision's NMS.
    """
    bboxes = bboxes.to(torch.promote_types(bboxes.dtype, torch.float32))
    return torch.cat(
        [
            box_iou(part, bboxes) > iou_threshold
            for part in bboxes.split(max(MAX_PAIRS // len(bboxes), 1))
        ]
    ).fill_diagonal_(True)


def _order(scores: Tensor, places: Tensor) -> Tensor:
    """Return the order by falling score, of equal ones by place."""
    order = places.argsort()
    return order[scores[order].argsort(descending=True, stable=True)]


def _first(
    scores: Tensor,
    labels: Tensor,
    overlaps: Tensor,
    num_classes: int,
    kept: Candidates,
    limit: int,
) -> Candidates:
    """Return the first ``limit`` of what was kept and what these classes add.

    In each round every class offers the best box that it has left. One whose
    box isn't among the first has no others that are. So whoever takes part in
    round n already has n - 1 of the first, and all rounds together look at
    ``limit * (1 + 1/2 + 1/3 + ...)`` times R scores, at most.

    Args:
        scores (Tensor): (B, R), -inf where nothing can be detected. They are
            overwritten.
        labels (Tensor): (B,) of the classes.
        overlaps (Tensor): (R, R) of :func:`_overlaps`.
        num_classes (int): C.
        kept (tuple): Detections of other classes, at most ``limit``.
        limit (int): Positive.
    """
    while len(scores):
        values, rois = scores.max(dim=1)  # of equal ones the first
        values = torch.cat([kept[0], values])
        places = torch.cat([kept[1], rois * num_classes + labels])
        order = _order(values, places)[:limit]
        order = order[values[order] > NONE]
        going = order[order >= len(kept[0])] - len(kept[0])
        kept = values[order], places[order]
        scores, labels = scores[going], labels[going]
        scores.masked_fill_(overlaps[rois[going]], NONE)
    return kept


def _all(
    scores: Tensor, labels: Tensor, overlaps: Tensor, num_classes: int
) -> Candidates:
    """Return all detections of these classes; see :func:`_first`.

    All classes take a step at once, from their best box to their worst.
    """
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    sets = _as_bits(overlaps)
    taken = sets.new_zeros(len(scores), sets.size(1))
    kept = scores > NONE
    for i in range(int(kept.sum(dim=1).amax())):
        rois = order[:, i]
        words = taken.gather(1, (rois // BITS)[:, None])[:, 0]
        free = kept[:, i].logical_and_((words >> rois % BITS) & 1 == 0)
        taken |= sets[rois].mul_(free[:, None])
    rows, steps = kept.nonzero(as_tuple=True)
    places = order[rows, steps] * num_classes + labels[rows]
    return scores[rows, steps], places


def _as_bits(sets: Tensor) -> Tensor:
    """Return the rows of (R, R) bool as bits of int64."""
    sets = F.pad(sets, (0, -sets.size(1) % BITS)).view(len(sets), -1, BITS)
    words = torch.zeros_like(sets[..., 0], dtype=torch.long)
    for bit in range(BITS):
        words |= sets[..., bit].long() << bit
    return words

"""NMS of boxes that all classes share, at a cost that names hardly add to.

Shapes: R RoIs, C foreground classes, M detections.
"""
from typing import List, Optional, Tuple

import numpy as np
import torch
from mmdet.models.layers import multiclass_nms
from mmdet.utils import ConfigType
from torch import Tensor
from torchvision.ops import box_iou

MAX_PAIRS = 2**20  # of boxes, compared at once
MAX_SECTIONS = 32  # of the classes of a RoI, with one peak each
CHUNK = 2**14  # candidates that leave the device at once

Candidates = Tuple[Tensor, Tensor]  # (M,) RoIs and (M,) labels


def shared_box_nms(bboxes: Tensor, scores: Tensor, score_thr: float,
                   nms_cfg: Optional[ConfigType],
                   max_per_img: int) -> Tuple[Tensor, Tensor]:
    """Return what the host's ``multiclass_nms`` does, faster.

    The host runs one NMS per class over all R * C pairs of a box and a class.
    But the boxes of all classes are the same, and so are their overlaps. So
    these are computed once, and pairs are taken by falling score, across all
    classes, until ``max_per_img`` are kept: the others can't displace them.
    Of equal scores, the first in row-major order comes first, as in the host.

    Results differ from the host's where that rounds: it shifts the boxes of
    class c by ``c * (bboxes.max() + 1)`` to keep the classes apart, in the
    dtype of the boxes. In float32, class 1,000 of an image of 1,333 pixels
    lies on a grid of 1/8 pixel (and negative coordinates overlap with the
    class before). Here nothing is shifted.

    Any other NMS than ``dict(type='nms', iou_threshold=...)``, and boxes per
    class, are left to the host.

    Args:
        bboxes (Tensor): (R, 4) xyxy, of all classes.
        scores (Tensor): (R, C + 1); the last column, background, is ignored.
        score_thr (float): Scores must exceed it.
        nms_cfg (ConfigType, optional): Of the host's ``batched_nms``.
        max_per_img (int): Most detections; no limit if it isn't positive.

    Returns:
        tuple: Boxes with scores (M, 5) by falling score, and labels (M,).
    """
    if not _is_plain(bboxes, scores, nms_cfg):
        return multiclass_nms(bboxes, scores, score_thr, nms_cfg, max_per_img)
    rois, labels = _search(
        bboxes.to(torch.promote_types(bboxes.dtype, scores.dtype)),
        scores[:, :-1], score_thr, nms_cfg['iou_threshold'], max_per_img)
    dets = torch.cat([bboxes[rois], scores[rois, labels][:, None]], dim=1)
    return dets, labels


def _is_plain(bboxes: Tensor, scores: Tensor,
              nms_cfg: Optional[ConfigType]) -> bool:
    """Tell whether these are shared boxes and the common NMS."""
    return (nms_cfg is not None and 'iou_threshold' in nms_cfg
            and set(nms_cfg) <= {'type', 'iou_threshold'}
            and nms_cfg.get('type', 'nms') == 'nms'
            and bboxes.size(1) == 4 and scores.size(1) > 1)


@torch.no_grad()
def _search(bboxes: Tensor, scores: Tensor, score_thr: float,
            iou_threshold: float, limit: int) -> Candidates:
    """Find the detections among the pairs of R boxes and C classes.

    What comes above a score needs nothing below it. So a few high scores are
    looked at first, more if they don't give enough, and all at last.
    """
    overlaps = _overlaps(bboxes, iou_threshold)
    if limit > 0:
        # At least N scores are not below the N-th of these.
        peaks = torch.cat([
            section.amax(dim=1) for section in scores.tensor_split(
                min(scores.size(1), MAX_SECTIONS), dim=1)
        ])
        count = 4 * limit  # NMS drops most where there are many names
        while count < len(peaks):
            floor = peaks.topk(count, sorted=False).values.min()[None]
            # As tensors of one dtype: half rounds the threshold, too.
            if not (floor > score_thr).item():
                break
            kept = _suppress(scores, scores >= floor, overlaps, limit)
            if len(kept[0]) == limit:
                return kept
            count *= 8
    return _suppress(scores, scores > score_thr, overlaps, limit)


def _overlaps(bboxes: Tensor, iou_threshold: float) -> List[int]:
    """Return, for each of R boxes, the set of those that overlap with it.

    Sets are integers, whose bits tell members. Boxes without area have an IoU
    of 0 or NaN, and overlap with none, as in torchvision's NMS.
    """
    bboxes = bboxes.to(torch.promote_types(bboxes.dtype, torch.float32))
    sets: List[int] = []
    for part in bboxes.split(max(MAX_PAIRS // max(len(bboxes), 1), 1)):
        bits = np.packbits(
            (box_iou(part, bboxes) > iou_threshold).cpu().numpy(),
            axis=1,
            bitorder='little')
        sets += [int.from_bytes(row.tobytes(), 'little') for row in bits]
    return sets


def _suppress(scores: Tensor, candidates: Tensor, overlaps: List[int],
              limit: int) -> Candidates:
    """Run NMS on the marked of the scores (R, C), up to ``limit`` results.

    Args:
        scores (Tensor): (R, C).
        candidates (Tensor): (R, C), bool.
        overlaps (list[int]): Sets of :func:`_overlaps`.
        limit (int): None if it isn't positive.
    """
    rois, labels = candidates.nonzero(as_tuple=True)
    order = scores[rois, labels].sort(stable=True, descending=True).indices
    kept: List[int] = []
    kept_boxes = [0] * scores.size(1)  # a set for each class
    for start in range(0, len(order), CHUNK):
        chunk = order[start:start + CHUNK]
        for i, (roi, label) in enumerate(
                zip(rois[chunk].tolist(), labels[chunk].tolist()), start):
            if overlaps[roi] & kept_boxes[label]:
                continue
            kept_boxes[label] |= 1 << roi
            kept.append(i)
            if len(kept) == limit:
                break
        if len(kept) == limit:
            break
    found = order[torch.tensor(kept, dtype=torch.long, device=order.device)]
    return rois[found], labels[found]

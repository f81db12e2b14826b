"""Boxes to distil and their embeddings stay together when some drop."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import DefaultScope

from ovd.datasets.transforms import DistilledBoxBroadcaster, PackDistillInputs

SIZE = 40


def results(num_boxes: int = 30, seed: int = 0) -> dict:
    """An image of two objects whose boxes carry their own coordinates."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, SIZE - 8, (num_boxes, 2))
    boxes = np.hstack([corners, corners + rng.uniform(2, 8, (num_boxes, 2))])
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[0, 2:10, 2:10] = masks[1, 20:39, 20:39] = 1
    return dict(
        img=np.zeros((SIZE, SIZE, 3), np.uint8),
        img_id=3,
        img_path='train/3.png',
        ori_shape=(SIZE, SIZE),
        img_shape=(SIZE, SIZE),
        gt_bboxes=HorizontalBoxes([[2.0, 2, 10, 10], [20, 20, 39, 39]]),
        gt_bboxes_labels=np.array([5, 6]),
        gt_ignore_flags=np.array([False, False]),
        gt_masks=BitmapMasks(masks, SIZE, SIZE),
        proposals=HorizontalBoxes(boxes.astype(np.float32)),
        proposal_embeddings=boxes.astype(np.float16),
    )


def build(*transforms: dict) -> DistilledBoxBroadcaster:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DistilledBoxBroadcaster(transforms)


@pytest.mark.parametrize('seed', range(5))
def test_embeddings_follow_the_boxes_that_a_crop_leaves(seed) -> None:
    np.random.seed(seed)
    wrapped = build(dict(type='RandomCrop', crop_size=(20, 20)))
    found = wrapped(results(seed=seed))
    before = results(seed=seed)['proposals'].tensor
    moved = torch.from_numpy(found['proposal_embeddings'].astype(np.float32))
    # Which crop it was, from the only object that may be moved
    offset = found['homography_matrix'][:2, 2]
    expected = moved + torch.tensor([*offset, *offset])
    assert 0 < len(moved) < len(before)
    assert torch.allclose(
        found['proposals'].tensor, expected.clamp(0, 20), atol=0.05
    )
    inside = before + torch.tensor([*offset, *offset])
    inside = inside.clamp(0, 20)
    assert len(moved) == int(
        (
            (inside[:, 2:] > 0)
            & (inside[:, :2] < 20)
            & (inside[:, 2:] > inside[:, :2])
        )
        .all(1)
        .sum()
    )
    # annotations are what the host alone would have left
    assert (
        len(found['gt_bboxes'])
        == len(found['gt_masks'])
        == len(found['gt_bboxes_labels'])
        == len(found['gt_ignore_flags'])
    )
    packed = PackDistillInputs()(found)['data_samples']
    assert len(packed.distill_instances) == len(moved)
    assert len(packed.gt_instances) == len(found['gt_bboxes'])


def test_the_large_scale_jitter_of_google() -> None:
    np.random.seed(0)
    wrapped = build(
        dict(
            type='RandomResize',
            scale=(SIZE, SIZE),
            ratio_range=(0.1, 2.0),
            keep_ratio=True,
        ),
        dict(
            type='RandomCrop',
            crop_size=(SIZE, SIZE),
            crop_type='absolute',
            recompute_bbox=True,
            allow_negative_crop=True,
        ),
        dict(type='RandomFlip', prob=0.5),
    )
    counts = set()
    for seed in range(20):
        found = wrapped(results(seed=seed))
        counts.add(len(found['proposals']))
        assert len(found['proposals']) == len(found['proposal_embeddings'])
    assert len(counts) > 3 and max(counts) == 30


def test_a_crop_without_proposals_keeps_its_objects(monkeypatch) -> None:
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)
    given = results()
    given['proposals'] = HorizontalBoxes([[30.0, 30, 35, 35]])
    given['proposal_embeddings'] = given['proposal_embeddings'][:1]
    found = build(dict(type='RandomCrop', crop_size=(20, 20)))(given)
    assert len(found['gt_bboxes']) == 1
    assert found['proposals'].tensor.shape == (0, 4)
    assert found['proposal_embeddings'].shape == (0, 4)
    packed = PackDistillInputs()(found)['data_samples']
    assert packed.distill_instances.embeddings.shape == (0, 4)


def test_an_image_without_objects_is_passed_over(monkeypatch) -> None:
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)
    given = results()
    given['gt_bboxes'] = HorizontalBoxes([[30.0, 30, 35, 35]])
    del given['gt_masks'], given['gt_ignore_flags']
    given['gt_bboxes_labels'] = np.array([1])
    assert build(dict(type='RandomCrop', crop_size=(20, 20)))(given) is None


def test_boxes_must_be_loaded_first() -> None:
    given = results()
    del given['proposals']
    with pytest.raises(ValueError, match='put LoadProposalEmbeddings'):
        build(dict(type='RandomFlip', prob=0.5))(given)


def test_other_transforms_that_drop_boxes() -> None:
    np.random.seed(0)
    found = build(
        dict(type='RandomErasing', n_patches=3, ratio=0.3, img_border_value=0)
    )(results())
    assert len(found['proposals']) == len(found['proposal_embeddings'])


@pytest.mark.parametrize(
    'transform', [dict(type='MinIoURandomCrop'), dict(type='Rotate', prob=1.0)]
)
def test_transforms_that_can_not_do_the_same_twice(transform) -> None:
    with pytest.raises(ValueError, match=f'{transform["type"]} draws anew'):
        build(transform)

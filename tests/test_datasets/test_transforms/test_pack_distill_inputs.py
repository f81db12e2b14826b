"""Boxes and embeddings to distil, moved with the image and packed apart."""

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

EMBEDDINGS = np.array([[1, 0, 0], [0, 0.5, 0.5]], np.float16)


def _results(**kwargs):
    """An image of width 10 and height 8 with one object, two proposals."""
    mask = np.zeros((1, 8, 10), np.uint8)
    mask[0, 2:4, 1:3] = 1
    return {
        **dict(
            img=np.arange(240, dtype=np.uint8).reshape(8, 10, 3),
            img_id=3,
            img_path='train/3.png',
            ori_shape=(8, 10),
            img_shape=(8, 10),
            gt_bboxes=HorizontalBoxes([[1.0, 2, 3, 4]]),
            gt_bboxes_labels=np.array([5]),
            gt_ignore_flags=np.array([False]),
            gt_masks=BitmapMasks(mask, 8, 10),
            proposals=HorizontalBoxes([[0.0, 0, 4, 2], [2, 3, 10, 8]]),
            proposal_embeddings=EMBEDDINGS,
        ),
        **kwargs,
    }


def _pack(results, *transforms):
    pipeline = (
        [dict(type='ProposalBroadcaster', transforms=transforms)]
        if transforms
        else []
    )
    pipeline.append(dict(type='PackDistillInputs'))
    return Compose([TRANSFORMS.build(t) for t in pipeline])(results)


def test_packed_apart_from_proposals():
    results = _results()
    sample = _pack(results)['data_samples']
    assert 'proposals' not in sample
    distill = sample.distill_instances
    assert type(distill.bboxes) is torch.Tensor
    assert distill.bboxes.tolist() == [[0, 0, 4, 2], [2, 3, 10, 8]]
    assert distill.embeddings.dtype == torch.float32
    np.testing.assert_array_equal(distill.embeddings, EMBEDDINGS)
    assert sample.gt_instances.labels.tolist() == [5]
    assert sample.metainfo['img_id'] == 3
    assert 'proposals' in results  # the caller's dict is left as it was


def test_boxes_follow_resize_and_flip_and_ground_truth_survives():
    # Twice the size, then x -> 20 - x; rows of embeddings stay in place.
    packed = _pack(
        _results(),
        dict(type='mmdet.Resize', scale=(20, 16)),
        dict(type='mmdet.RandomFlip', prob=1.0),
    )
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 16, 20)
    assert sample.distill_instances.bboxes.tolist() == [
        [12, 0, 20, 4],
        [0, 6, 16, 16],
    ]
    np.testing.assert_array_equal(
        sample.distill_instances.embeddings, EMBEDDINGS
    )
    assert sample.gt_instances.bboxes.tensor.tolist() == [[14, 4, 18, 8]]
    rows, columns = np.nonzero(sample.gt_instances.masks.masks[0])
    assert (rows.min(), rows.max()) == (4, 7)
    assert (columns.min(), columns.max()) == (14, 17)


@pytest.mark.parametrize('seed', range(4))
def test_image_and_boxes_flip_together(seed):
    np.random.seed(seed)
    before = _results()['img']
    packed = _pack(_results(), dict(type='mmdet.RandomFlip', prob=0.5))
    flipped = packed['data_samples'].flip
    image = packed['inputs'].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(image, before[:, :: -1 if flipped else 1])
    assert packed['data_samples'].distill_instances.bboxes[0].tolist() == (
        [6, 0, 10, 2] if flipped else [0, 0, 4, 2]
    )


@pytest.mark.parametrize(
    'key, name, shape',
    [
        ('proposal_embeddings', 'embeddings', (0, 3)),
        ('proposals_to_embed', 'original_bboxes', (0, 4)),
    ],
)
def test_an_image_without_proposals(key, name, shape):
    results = _results(proposals=HorizontalBoxes(torch.zeros(0, 4)))
    del results['proposal_embeddings']
    results[key] = np.zeros(shape, np.float16)
    packed = _pack(
        results,
        dict(type='mmdet.Resize', scale=(20, 16)),
        dict(type='mmdet.RandomFlip', prob=1.0),
    )
    distill = packed['data_samples'].distill_instances
    assert distill.bboxes.shape == (0, 4)
    assert distill[name].shape == shape


def test_boxes_to_embed_stay_those_of_the_file():
    boxes = np.array([[0, 0, 4, 2], [2, 3, 10, 8]], np.float32)
    results = _results(proposals_to_embed=boxes)
    del results['proposal_embeddings']
    distill = _pack(
        results,
        dict(type='mmdet.Resize', scale=(20, 16)),
        dict(type='mmdet.RandomFlip', prob=1.0),
    )['data_samples'].distill_instances
    assert distill.bboxes.tolist() == [[12, 0, 20, 4], [0, 6, 16, 16]]
    np.testing.assert_array_equal(distill.original_bboxes, boxes)
    assert distill.img_path == 'train/3.png'
    assert 'embeddings' not in distill
    with pytest.raises(ValueError, match='image 3: 1 proposals for 2 origin'):
        _pack(dict(results, proposals=HorizontalBoxes([[0.0, 0, 4, 2]])))


def test_boxes_to_embed_beside_embeddings():
    with pytest.raises(ValueError, match='LoadProposalsToEmbed; not both'):
        _pack(_results(proposals_to_embed=EMBEDDINGS))


def test_the_preprocessor_leaves_them_tensors():
    from mmdet.registry import MODELS

    preprocessor = MODELS.build(
        dict(type='DetDataPreprocessor', pad_size_divisor=32)
    )
    packed = _pack(_results())
    batch = preprocessor(
        dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]),
        training=True,
    )
    distill = batch['data_samples'][0].distill_instances
    assert distill.bboxes.shape == (2, 4)
    assert distill.embeddings.shape == (2, 3)


def test_dropped_boxes_are_noticed():
    with pytest.raises(ValueError, match='image 3: 1 proposals for 2 embed'):
        _pack(_results(proposals=HorizontalBoxes([[0.0, 0, 4, 2]])))


@pytest.mark.parametrize('key', ['proposals', 'proposal_embeddings'])
def test_missing_embeddings_are_named(key):
    results = _results()
    del results[key]
    with pytest.raises(ValueError, match='put LoadProposalEmbeddings'):
        _pack(results)

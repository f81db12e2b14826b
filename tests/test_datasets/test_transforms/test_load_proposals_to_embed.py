"""Boxes without embeddings reach the pipeline, as an extraction takes them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes

from ovd.artifacts.proposals import save_proposals
from ovd.datasets.box_selection import BoxSelection

BBOXES = np.array([[0, 0, 4, 2], [2, 3, 10, 8], [1, 1, 9, 7]], np.float32)
SCORES = np.array([0.2, 0.9, 0.5], np.float32)
TRUE = [[1, 2, 3, 4]]


@pytest.fixture()
def file(tmp_path: Path) -> str:
    """Proposals of image 3, and none of image 7."""
    save_proposals(
        tmp_path / 'p.safetensors',
        {
            f'train/{i}.jpg': dict(bboxes=BBOXES[:n], scores=SCORES[:n])
            for i, n in ((3, 3), (7, 0))
        },
        {},
    )
    return str(tmp_path / 'p.safetensors')


def build(*args, **kwargs):
    return TRANSFORMS.build(
        dict(
            type='LoadProposalsToEmbed',
            **dict(zip(('proposals', 'boxes'), args), **kwargs),
        )
    )


def info(image_id: int = 3, **kwargs) -> dict:
    """What the host's dataset says of an image, 10 pixels wide, 8 high."""
    return {
        **dict(
            img_id=image_id,
            img_path=f'data/train/{image_id}.jpg',
            height=8,
            width=10,
            instances=[
                dict(bbox=TRUE[0], bbox_label=0, ignore_flag=0),
                dict(bbox=[0, 0, 9, 7], bbox_label=0, ignore_flag=1),
            ],
        ),
        **kwargs,
    }


@pytest.mark.parametrize(
    'boxes',
    [
        None,
        dict(num_max=2),
        dict(nms_iou=0.5),
        dict(ground_truth=True, jitter=2),
    ],
)
def test_boxes_are_those_of_the_selection(file: str, boxes: dict) -> None:
    results = build(file, boxes)(info())
    expected = BoxSelection(**(boxes or {})).select(
        3,
        dict(bboxes=BBOXES, scores=SCORES),
        np.array(TRUE, np.float32),
        (8, 10),
    )['bboxes']
    assert isinstance(results['proposals'], HorizontalBoxes)
    np.testing.assert_array_equal(results['proposals'].numpy(), expected)
    np.testing.assert_array_equal(results['proposals_to_embed'], expected)
    results['proposals'].tensor.add_(1)  # as transforms move them, in place
    np.testing.assert_array_equal(results['proposals_to_embed'], expected)


def test_without_proposals(file: str) -> None:
    for transform in (
        build(boxes=dict(ground_truth=True)),
        build(file, dict(ground_truth=True)),
    ):
        assert transform(info(7))['proposals_to_embed'].tolist() == TRUE
    assert build(file)(info(7))['proposals_to_embed'].shape == (0, 4)
    with pytest.raises(ValueError, match='nothing to embed'):
        build()
    with pytest.raises(ValueError, match='did you mean "num_max"'):
        build(file, dict(nummax=3))
    with pytest.raises(ValueError, match='whole_image=True is for stores'):
        build(file, dict(whole_image=True))


def test_rows_stay_in_step_with_boxes_that_move(file: str) -> None:
    np.random.seed(0)
    image = np.zeros((8, 10, 3), np.uint8)
    sample = Compose(
        [
            build(file),
            TRANSFORMS.build(
                dict(
                    type='ProposalBroadcaster',
                    transforms=[
                        dict(type='mmdet.Resize', scale=(20, 16)),
                        dict(type='mmdet.RandomFlip', prob=1.0),
                    ],
                )
            ),
            TRANSFORMS.build(dict(type='PackDistillInputs')),
        ]
    )(info(img=image, img_shape=(8, 10), ori_shape=(8, 10)))['data_samples']
    x1, y1, x2, y2 = sample.distill_instances.original_bboxes.T
    moved = np.stack([20 - 2 * x2, 2 * y1, 20 - 2 * x1, 2 * y2], 1)
    np.testing.assert_array_equal(sample.distill_instances.bboxes, moved)
    assert sample.distill_instances.img_path == 'data/train/3.jpg'


def test_what_does_not_fit_is_named(file: str, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match='no proposals of train/4.jpg'):
        build(file)(info(4))
    with pytest.raises(
        ValueError,
        match='p.safetensors, train/3.jpg: the '
        'box .* lies outside the image of 5 x 8',
    ):
        build(file)(info(width=5))
    with pytest.raises(
        ValueError,
        match='train/3.jpg has 10 x 9 pixels, the annotation file says 10 x 8',
    ):
        build(file)(info(ori_shape=(9, 10)))
    with pytest.raises(ValueError, match='image 3 was moved'):
        build(file)(info(homography_matrix=np.eye(3)))
    missing = build(str(tmp_path / 'none.pkl'))  # found when it is read
    assert 'none.pkl' in repr(missing)
    with pytest.raises(FileNotFoundError, match='none.pkl'):
        missing(info())


def test_spawned_workers_read_the_file(file: str) -> None:
    transform = build(file)
    assert len(transform.proposals) == 2
    sent = pickle.dumps(transform)
    assert len(sent) < 1000
    assert len(pickle.loads(sent)(info())['proposals']) == 3

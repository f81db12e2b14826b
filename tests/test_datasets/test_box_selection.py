"""Which boxes of an image are embedded: order, kinds, limits, chance."""

from typing import Optional

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from ovd.artifacts.embedding_store import BOX_KINDS
from ovd.datasets.box_selection import BoxSelection, annotated_boxes

SIZE_HW = (40, 60)
# The second overlaps the first by an IoU of 0.8, and is the better one.
PROPOSALS = dict(
    bboxes=np.array(
        [[0, 0, 10, 10], [0, 0, 10, 8], [20, 5, 23, 35], [50, 30, 60, 40]],
        np.float32,
    ),
    scores=np.array([0.5, 0.9, 0.7, 0.1], np.float32),
)
TRUE = np.array([[5, 5, 25, 15], [30, 10, 50, 30]], np.float32)
NO_BOXES = np.zeros((0, 4), np.float32)


def select(
    image_id: int = 3,
    proposals: Optional[dict] = PROPOSALS,
    true: np.ndarray = TRUE,
    **options,
) -> dict:
    found = BoxSelection(**options).select(image_id, proposals, true, SIZE_HW)
    num = len(found['scores'])
    assert found['bboxes'].shape == (num, 4)
    assert found['kinds'].shape == (num,)
    assert [array.dtype for array in found.values()] == [
        np.float32,
        np.float32,
        np.uint8,
    ]
    return found


@pytest.mark.parametrize(
    'options, rows',
    [
        (dict(), [1, 2, 0, 3]),
        (dict(num_max=2), [1, 2]),
        (dict(num_max=9), [1, 2, 0, 3]),
        (dict(min_size=8), [1, 0, 3]),
        (dict(min_size=8, num_max=2), [1, 0]),
        (dict(nms_iou=0.79), [1, 2, 3]),
        (dict(nms_iou=0.81), [1, 2, 0, 3]),
        (dict(nms_iou=0.79, min_size=8, num_max=1), [1]),
        (dict(nms_iou=0.79, num_max=3), [1, 2, 3]),  # counted after it
    ],
)
def test_proposals_best_first(options: dict, rows: list) -> None:
    found = select(**options)
    for name in ('bboxes', 'scores'):
        np.testing.assert_array_equal(found[name], PROPOSALS[name][rows])
    assert not found['kinds'].any()


def test_equal_scores_keep_their_order() -> None:
    same = dict(PROPOSALS, scores=np.full(4, 0.5, np.float32))
    np.testing.assert_array_equal(
        select(proposals=same)['bboxes'], PROPOSALS['bboxes']
    )


def test_kinds_come_one_after_the_other() -> None:
    found = select(ground_truth=True, jitter=2, whole_image=True)
    assert [BOX_KINDS[kind] for kind in found['kinds']] == ['proposal'] * 4 + [
        'ground_truth'
    ] * 2 + ['jittered'] * 4 + ['image']
    np.testing.assert_array_equal(found['bboxes'][4:6], TRUE)
    assert found['bboxes'][-1].tolist() == [0, 0, 60, 40]
    assert found['scores'][4:].tolist() == [1] * 7


def test_images_without_boxes() -> None:
    empty = dict(bboxes=NO_BOXES, scores=np.zeros(0, np.float32))
    for proposals in (None, empty):
        found = select(
            proposals=proposals,
            true=NO_BOXES,
            ground_truth=True,
            jitter=3,
            nms_iou=0.5,
        )
        assert not len(found['scores'])
        found = select(proposals=proposals, true=NO_BOXES, whole_image=True)
        assert found['kinds'].tolist() == [BOX_KINDS.index('image')]


def test_boxes_without_an_area_are_left_out() -> None:
    flat = dict(
        bboxes=np.array([[5, 5, 5, 9], [1, 1, 2, 2]], np.float32),
        scores=np.array([0.9, 0.1], np.float32),
    )
    true = np.array([[7, 7, 9, 7], [4, 4, 8, 8], [70, 5, 80, 9]], np.float32)
    found = select(proposals=flat, true=true, ground_truth=True)
    # The third true box lies outside the image: none of it is left there.
    assert found['bboxes'].tolist() == [[1, 1, 2, 2], [4, 4, 8, 8]]


def test_annotated_boxes_end_with_the_image() -> None:
    found = select(
        proposals=None, true=np.array([[-5.0, 30, 70, 50]]), ground_truth=True
    )
    assert found['bboxes'].tolist() == [[0, 30, 60, 40]]


@pytest.mark.parametrize(
    'box, inside',
    [
        ([-0.9, 0, 60.9, 40.9], True),
        ([-1.1, 0, 20, 20], False),
        ([0, 0, 61.1, 20], False),
        ([0, 20, 10, 41.1], False),
    ],
)
def test_proposals_of_another_image_are_refused(
    box: list, inside: bool
) -> None:
    proposals = dict(
        bboxes=np.array([box], np.float32), scores=np.ones(1, np.float32)
    )
    if inside:
        assert len(select(proposals=proposals)['scores']) == 1
        return
    with pytest.raises(ValueError, match='outside the image of 60 x 40 pix'):
        select(proposals=proposals)


def test_jitter_is_the_images_own() -> None:
    """Whatever was selected before, and in which process."""

    def moved(image_id: int, **options) -> np.ndarray:
        return select(image_id, None, jitter=4, **options)['bboxes']

    first = moved(3)
    assert len(first) == 8 and len(np.unique(first, axis=0)) == 8
    other = moved(7)
    np.testing.assert_array_equal(moved(3), first)
    assert (other != first).any() and (moved(3, seed=1) != first).any()
    # Proposals and true boxes beside them move nothing.
    among = select(3, jitter=4, ground_truth=True)
    np.testing.assert_array_equal(among['bboxes'][-8:], first)


@pytest.mark.parametrize('scale', [0.05, 0.2])
def test_jitter_stays_near_its_box(scale: float) -> None:
    boxes = select(proposals=None, jitter=500, jitter_scale=scale)['bboxes']
    boxes = boxes.reshape(500, 2, 4).astype(np.float64)  # copy by copy
    sides = TRUE[:, 2:] - TRUE[:, :2]
    shift = (
        ((boxes[..., 2:] + boxes[..., :2]) - (TRUE[:, 2:] + TRUE[:, :2]))
        / 2
        / sides
    )
    growth = (boxes[..., 2:] - boxes[..., :2]) / sides - 1
    for change in (shift, growth):
        largest = np.abs(change).max(0)
        assert (largest <= scale + 1e-6).all()
        assert (largest > 0.9 * scale).all()
        assert (np.abs(change.mean(0)) < 0.1 * scale).all()


def test_jittered_boxes_end_with_the_image() -> None:
    corner = np.array([[0, 0, 12, 12], [50, 30, 60, 40]], np.float32)
    boxes = select(proposals=None, true=corner, jitter=50)['bboxes']
    assert boxes.min() == 0 and boxes[:, 2:].max(0).tolist() == [60, 40]
    overlap = box_iou(torch.from_numpy(boxes), torch.from_numpy(corner))
    assert (overlap.max(1).values > 0.3).all()


def test_crowds_are_not_annotated_boxes() -> None:
    info = dict(
        instances=[
            dict(bbox=[1, 2, 3, 4], ignore_flag=0),
            dict(bbox=[0, 0, 60, 40], ignore_flag=1),
            dict(bbox=[5, 6, 7, 8]),
        ]
    )
    assert annotated_boxes(info).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    for none in ({}, dict(instances=[])):
        assert annotated_boxes(none).shape == (0, 4)


@pytest.mark.parametrize(
    'options',
    [
        dict(num_max=0),
        dict(min_size=-1),
        dict(nms_iou=0),
        dict(nms_iou=1.5),
        dict(jitter=-1),
        dict(jitter_scale=0),
        dict(jitter_scale=1),
    ],
)
def test_numbers_out_of_range(options: dict) -> None:
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f'{name} must be .*, got {value}'):
        BoxSelection(**options)


def test_options_of_a_config() -> None:
    made = BoxSelection.from_options(dict(num_max=5), True)
    assert made == BoxSelection(num_max=5)
    with pytest.raises(
        ValueError,
        match='an option of boxes must be .*got "nms"; did you mean "nms_iou"',
    ):
        BoxSelection.from_options(dict(nms=0.5), True)
    for options in (
        dict(ground_truth=True),
        dict(jitter=1),
        dict(whole_image=True),
    ):
        assert BoxSelection.from_options(options, False)
    with pytest.raises(ValueError, match='nothing to embed: give proposals'):
        BoxSelection.from_options(dict(num_max=5), False)


def test_settings_name_what_decides_the_boxes() -> None:
    assert BoxSelection(num_max=5, min_size=2).settings() == dict(
        num_max=5,
        min_size=2.0,
        nms_iou=None,
        ground_truth=False,
        jitter=0,
        whole_image=False,
    )
    assert BoxSelection(seed=1).settings() == BoxSelection().settings()
    assert BoxSelection(jitter=1, seed=1).settings()['seed'] == 1


def test_settings_without_proposals():
    one, two = (BoxSelection(whole_image=True, num_max=n) for n in (3, None))
    assert one.settings() != two.settings()
    assert one.settings(False) == two.settings(False)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(num_max='abc'), "must be of type int or NoneType, got 'abc'"),
        (
            dict(num_max=1.5),
            'num_max must be of type int or NoneType, got 1.5',
        ),
        (
            dict(num_max=True),
            'num_max must be of type int or NoneType, got True',
        ),
        (
            dict(ground_truth='yes'),
            "ground_truth must be of type bool, got 'yes'",
        ),
        (dict(jitter=1.5), 'jitter must be of type int, got 1.5'),
        (dict(jitter=2, seed=-1), 'seed must be 0 or more, got -1'),
        (
            dict(min_size=None),
            'min_size must be of type int or float, got None',
        ),
    ],
)
def test_types_of_options(options, message):
    with pytest.raises(ValueError, match=message):
        BoxSelection.from_options(options, True)

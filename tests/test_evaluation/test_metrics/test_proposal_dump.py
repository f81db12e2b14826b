"""Proposals of a detector reach a file, in original pixels."""
import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from ovd.artifacts.files import sha256_file
from ovd.artifacts.proposals import load_proposals


def _sample(name, boxes, scores):
    return DetDataSample(
        metainfo=dict(img_path=f'data/train/{name}', ori_shape=(50, 100)),
        pred_instances=InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4).float(),
            scores=torch.tensor(scores).float()))


def _evaluate(samples, size=None, **kwargs):
    evaluator = Evaluator(METRICS.build(dict(type='ProposalDump', **kwargs)))
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples) if size is None else size)


@pytest.mark.parametrize('suffix', ['.pkl', '.safetensors'])
def test_clipped_sorted_and_cut(tmp_path, suffix):
    samples = [
        _sample('1.png', [[-3, 1, 30, 60], [0, 0, 5, 5], [99, 5, 120, 20],
                          [101, 0, 120, 9]], [.2, .1, .9, .8]),
        _sample('2.png', [], []),
    ]
    out = tmp_path / f'p{suffix}'
    metrics = _evaluate(samples, out_file=str(out), num_max_proposals=2)
    assert metrics == {
        'proposals/num_images': 2,
        'proposals/num_proposals': 2
    }
    found = load_proposals(out)
    # The box beyond x = 100 has no area once clipped.
    np.testing.assert_array_equal(found['train/1.png']['bboxes'],
                                  [[99, 5, 100, 20], [0, 1, 30, 50]])
    np.testing.assert_array_equal(found['train/1.png']['scores'],
                                  np.array([.9, .2], np.float32))
    assert found['train/2.png']['bboxes'].shape == (0, 4)
    assert found.provenance == {'num_max_proposals': 2}


def test_padding_of_the_last_batch_is_dropped(tmp_path):
    samples = [_sample(f'{i}.png', [[0, 0, 5, 5]], [.5]) for i in (1, 2, 1)]
    out = tmp_path / 'p.pkl'
    metrics = _evaluate(samples, size=2, out_file=str(out))
    assert metrics['proposals/num_images'] == 2


def test_what_made_them_is_noted(tmp_path):
    ann_file = tmp_path / 'train.json'
    ann_file.write_text(json.dumps(dict(categories=[])))
    out = tmp_path / 'p.safetensors'
    _evaluate([],
              out_file=str(out),
              ann_file=str(ann_file),
              provenance=dict(checkpoint='rpn.pth'))
    assert load_proposals(out).provenance == dict(
        checkpoint='rpn.pth',
        num_max_proposals=None,
        annotations=dict(
            file=str(ann_file),
            sha256=sha256_file(ann_file),
            source_sha256=sha256_file(ann_file)))


def test_without_a_file_the_first_batch_fails():
    with pytest.raises(ValueError, match='give --out FILE'):
        _evaluate([_sample('1.png', [], [])])

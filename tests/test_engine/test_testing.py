"""--out and --metrics of tools/test.py."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ovd.artifacts.files import sha256_file
from ovd.engine.testing import (
    set_class_embeddings,
    set_out_file,
    set_report_dir,
    write_metrics,
)


def test_out_needs_a_metric_that_can_write() -> None:
    cfg = Config(dict(test_evaluator=dict(type='CocoMetric')))
    with pytest.raises(ValueError, match='this config has CocoMetric'):
        set_out_file(cfg, 'x.json')
    set_out_file(cfg, None)
    assert cfg.test_evaluator == dict(type='CocoMetric')


def test_out_notes_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / 'iter_1.pth'
    torch.save(dict(meta=dict(CLASSES=('cat', 'dog'))), checkpoint)
    cfg = Config(
        dict(
            load_from=str(checkpoint),
            test_evaluator=dict(type='ProposalDump')))
    set_out_file(cfg, 'x.pkl')
    assert cfg.test_evaluator.out_file == 'x.pkl'
    assert cfg.test_evaluator.provenance.checkpoint == dict(
        file=str(checkpoint), sha256=sha256_file(checkpoint))
    assert cfg.test_evaluator.provenance.trained_on == ['cat', 'dog']


def test_metrics_without_a_value_are_null(tmp_path: Path) -> None:
    write_metrics(dict(a=1.5, b=float('nan')), str(tmp_path / 'm.json'))
    assert json.loads((tmp_path / 'm.json').read_text()) == dict(a=1.5, b=None)


def test_one_of_several_evaluators_keeps_the_predictions() -> None:
    cfg = Config(
        dict(
            work_dir='work_dirs/x',
            test_evaluator=[
                dict(type='ProposalRecall'),
                dict(type='GZSLLVISMetric', report_dir='mine'),
                dict(type='GZSLCocoMetric')
            ]))
    set_out_file(cfg, 'x.json')
    set_report_dir(cfg)
    recall, lvis, coco = cfg.test_evaluator
    assert recall == dict(type='ProposalRecall')
    assert (lvis.out_file, lvis.report_dir) == ('x.json', 'mine')
    assert coco == dict(
        type='GZSLCocoMetric', report_dir='work_dirs/x/report')
    cfg.test_evaluator = [dict(type='ProposalRecall')]
    with pytest.raises(ValueError, match='this config has ProposalRecall'):
        set_out_file(cfg, 'x.json')


def test_a_config_without_evaluator_reports_nothing() -> None:
    cfg = Config(dict(work_dir='x', test_evaluator=None))
    set_report_dir(cfg)
    assert cfg.test_evaluator is None


def detector() -> Config:
    classifier = dict(type='ClassEmbeddingClassifier', class_embeddings='a')
    return Config(
        dict(
            model=dict(
                type='CascadeRCNN',
                roi_head=dict(bbox_head=[
                    dict(classifier=dict(classifier)) for _ in range(3)
                ])),
            default_hooks=dict(
                logger=dict(type='LoggerHook'),
                names=dict(type='ClassEmbeddingHook', pretrained='RN50')),
            custom_hooks=[dict(type='ClassEmbeddingHook', pretrained='RN50')]))


def test_class_embeddings_are_an_argument(tmp_path: Path) -> None:
    file = tmp_path / 'b.pth'
    file.touch()
    cfg = detector()
    set_class_embeddings(cfg, None)
    assert cfg.to_dict() == detector().to_dict()
    set_class_embeddings(cfg, str(file))
    assert [head.classifier.class_embeddings
            for head in cfg.model.roi_head.bbox_head] == [str(file)] * 3
    # No hook may judge or make the file of the config any more
    assert cfg.default_hooks == dict(logger=dict(type='LoggerHook'))
    assert cfg.custom_hooks == []


def test_class_embeddings_must_be_there_and_be_used(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='class_embeddings.py'):
        set_class_embeddings(detector(), str(tmp_path / 'b.pth'))
    (tmp_path / 'b.pth').touch()
    with pytest.raises(ValueError, match='no part of the RPN of this config'):
        set_class_embeddings(
            Config(dict(model=dict(type='RPN'))), str(tmp_path / 'b.pth'))

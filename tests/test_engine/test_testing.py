"""--out and --metrics of tools/test.py."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from ovd.artifacts.files import sha256_file
from ovd.artifacts.weights_file import write_weights
from ovd.engine.testing import (
    check_weights,
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
            load_from=str(checkpoint), test_evaluator=dict(type='ProposalDump')
        )
    )
    set_out_file(cfg, 'x.pkl')
    assert cfg.test_evaluator.out_file == 'x.pkl'
    assert cfg.test_evaluator.provenance.checkpoint == dict(
        file=str(checkpoint), sha256=sha256_file(checkpoint)
    )
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
                dict(type='GZSLCocoMetric'),
            ],
        )
    )
    set_out_file(cfg, 'x.json')
    set_report_dir(cfg)
    recall, lvis, coco = cfg.test_evaluator
    assert recall == dict(type='ProposalRecall')
    assert (lvis.out_file, lvis.report_dir) == ('x.json', 'mine')
    assert coco == dict(type='GZSLCocoMetric', report_dir='work_dirs/x/report')
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
                roi_head=dict(
                    bbox_head=[
                        dict(classifier=dict(classifier)) for _ in range(3)
                    ]
                ),
            ),
            default_hooks=dict(
                logger=dict(type='LoggerHook'),
                names=dict(type='ClassEmbeddingHook', pretrained='RN50'),
            ),
            custom_hooks=[dict(type='ClassEmbeddingHook', pretrained='RN50')],
        )
    )


def test_class_embeddings_are_an_argument(tmp_path: Path) -> None:
    file = tmp_path / 'b.pth'
    file.touch()
    cfg = detector()
    set_class_embeddings(cfg, None)
    assert cfg.to_dict() == detector().to_dict()
    set_class_embeddings(cfg, str(file))
    assert [
        head.classifier.class_embeddings
        for head in cfg.model.roi_head.bbox_head
    ] == [str(file)] * 3
    # No hook may judge or make the file of the config any more
    assert cfg.default_hooks == dict(logger=dict(type='LoggerHook'))
    assert cfg.custom_hooks == []


def test_class_embeddings_must_be_there_and_be_used(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='class_embeddings.py'):
        set_class_embeddings(detector(), str(tmp_path / 'b.pth'))
    (tmp_path / 'b.pth').touch()
    with pytest.raises(ValueError, match='no part of the RPN of this config'):
        set_class_embeddings(
            Config(dict(model=dict(type='RPN'))), str(tmp_path / 'b.pth')
        )


def small_model() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1)
    )


def check(path: Path, model: torch.nn.Module) -> None:
    check_weights(Config(dict(load_from=str(path))), model)


def test_a_model_is_not_tested_with_random_weights(tmp_path: Path) -> None:
    """Whatever its evaluator: the host only logs it."""
    path, weights = tmp_path / 'iter_1.pth', small_model().state_dict()
    for gone in ('2.weight', '1.running_var'):
        torch.save(
            dict(
                state_dict={
                    key: value for key, value in weights.items() if key != gone
                }
            ),
            path,
        )
        with pytest.raises(
            ValueError,
            match=(
                f'iter_1.pth lacks 1 of the 9 weights of .*: test with the '
                f'config .*\n  {gone}$'
            ),
        ):
            check(path, small_model())
    torch.save(dict(state_dict={}), path)
    big = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(5)))
    with pytest.raises(ValueError, match='lacks 10 of .*\n(.*\n)*  and 2 mo'):
        check(path, big)
    other = dict(weights, **{'0.weight': torch.ones(3, 4)})
    torch.save(dict(state_dict=other), path)
    with pytest.raises(
        ValueError,
        match=(r'(?s)does not fit .*0.weight: copying .*\[3, 4\].*\[3, 2\]'),
    ):
        check(path, small_model())
    torch.save([1], path)
    with pytest.raises(ValueError, match='no checkpoint: it holds a list'):
        check(path, small_model())


@pytest.mark.parametrize('name', ['iter_1.pth', 'w.safetensors', 'plain.pth'])
def test_weights_that_are_all_there(tmp_path: Path, name: str) -> None:
    """Counters of batches may be missing, and a mask head too many."""
    path, source = tmp_path / name, small_model()
    weights = source.state_dict()
    del weights['1.num_batches_tracked']
    weights['mask_head.weight'] = torch.ones(1)
    if path.suffix == '.safetensors':
        write_weights(path, weights, {})
    elif name == 'plain.pth':
        torch.save(weights, path)
    else:
        torch.save(
            dict(
                state_dict={
                    f'module.{key}': value for key, value in weights.items()
                }
            ),
            path,
        )
    model = small_model()
    check(path, model)
    assert torch.equal(model[2].weight, source[2].weight)

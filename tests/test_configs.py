"""Every config loads, its variables resolved, and names registered types."""
from pathlib import Path

import pytest
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config

import ovd.models  # noqa: F401  (registers)

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))


@pytest.mark.parametrize(
    'path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_config_loads(path: Path) -> None:
    cfg = Config.fromfile(path)
    if 'miniature' in path.parts[-2]:
        assert cfg.custom_imports.imports == ['ovd']
        assert Path(cfg.work_dir).parts[:2] == ('work_dirs', 'miniature')
        assert MODELS.get(cfg.model.type)
    for name in ('train_dataloader', 'test_dataloader'):
        dataset = (cfg.get(name) or {}).get('dataset', {})
        while 'dataset' in dataset:
            dataset = dataset.dataset
        assert 'type' not in dataset or DATASETS.get(dataset.type)
    if cfg.get('test_evaluator'):
        assert METRICS.get(cfg.test_evaluator.type)


def test_experiments_are_short() -> None:
    lines = {
        path.name: len(path.read_text().splitlines())
        for path in CONFIGS if 'rpn' in path.name or 'vild' in path.name
    }
    assert len(lines) >= 3 and max(lines.values()) <= 60

"""Every example in a docstring of the Python interface is run."""

import doctest
import importlib
from pathlib import Path

import pytest

import ovd.apis

MODULES = sorted(
    path.stem
    for path in Path(ovd.apis.__file__).parent.glob('*.py')
    if '>>> ' in path.read_text()
)


def test_the_interface_has_examples():
    assert {'detections', 'open_vocabulary_detector'} <= set(MODULES)


@pytest.mark.parametrize('name', MODULES)
def test_examples(in_untrained: Path, name: str) -> None:
    if name == 'detections':
        pytest.importorskip('supervision', reason='pip install supervision')
    found = doctest.testmod(importlib.import_module(f'ovd.apis.{name}'))
    assert found.attempted and not found.failed

"""The check of the host packages and the repairs of their breakages."""

import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

import pytest

from ovd import host


@pytest.fixture
def distribution(monkeypatch, tmp_path):
    """Return a function that adds an installed distribution."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, version: str, requires: str = '') -> None:
        folder = tmp_path / f'{name}-{version}.dist-info'
        folder.mkdir()
        metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        if requires:
            metadata += f'Requires-Dist: {requires}\n'
        (folder / 'METADATA').write_text(metadata)

    return add


@pytest.fixture
def hide(monkeypatch):
    """Return a function that makes a module look absent."""

    def hide_module(hidden: str) -> None:
        monkeypatch.setattr(
            host,
            'find_spec',
            lambda name: None if name == hidden else find_spec(name),
        )

    return hide_module


def test_accepts_this_environment():
    """The tests run on packages that are in range."""
    host.check_host()


def test_every_missing_package_is_named_with_its_command(monkeypatch):
    """With nothing installed the command installs all that is needed."""
    monkeypatch.setattr(host, 'find_spec', lambda name: None)
    with pytest.raises(ImportError) as caught:
        host.check_host()
    lines = str(caught.value).splitlines()
    assert lines[:-1] == [
        'torch is not installed, ovd needs >=2.6,<3',
        'torchvision is not installed, ovd needs >=0.21,<1',
        'mmengine is not installed, ovd needs >=0.10.5,<0.11',
        'mmcv is not installed, ovd needs >=2.0.0rc4,<2.2',
        'mmdet is not installed, ovd needs >=3.2,<3.4',
    ]
    assert lines[-1] == (
        'install with: pip install "torch>=2.6,<3" "torchvision>=0.21,<1" '
        'mmengine==0.10.7 mmcv-lite==2.1.0 mmdet==3.3.0'
    )


def test_only_what_is_wrong_is_named(hide):
    """One missing package leaves the others out of the message."""
    hide('mmdet')
    with pytest.raises(ImportError, match='^mmdet is not installed') as caught:
        host.check_host()
    assert str(caught.value).endswith('pip install mmdet==3.3.0')
    assert 'torch' not in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'version'),
    [
        ('mmdet', '3.1.0'),
        ('mmdet', '4.0.0'),
        ('mmengine', '0.11.0'),
        ('mmcv', '2.2.0'),
        ('torch', '2.5.1+cu124'),
    ],
)
def test_versions_out_of_range_are_refused(distribution, name, version):
    """What is installed and what is needed are both in the message."""
    distribution(name, version)
    found = version.replace('+', r'\+')
    with pytest.raises(
        ImportError, match=rf'^{name} {found} is installed, ovd needs >='
    ):
        host.check_host()


@pytest.mark.parametrize(
    ('name', 'version'),
    [
        ('mmcv', '2.1.0'),  # compiled
        ('mmcv-lite', '2.0.1'),
        ('mmdet', '3.2.0'),
    ],
)
def test_versions_in_range_are_accepted(distribution, name, version):
    """Either distribution of mmcv will do."""
    distribution(name, version)
    host.check_host()


def _pair(distribution, torch: str, needs: str) -> Optional[str]:
    distribution('torch', torch)
    distribution('torchvision', '0.26.0', requires=needs)
    try:
        host.check_host()
    except ImportError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ('torch', 'needs'),
    [
        ('2.11.0', 'torch (==2.11.0)'),
        ('2.11.0+cpu', 'torch==2.11.0'),
        ('2.12.0.dev20260101', 'torch>=2.11'),
        ('2.13.0', ''),  # a build of the user's own says nothing
    ],
)
def test_torchvision_of_this_torch(distribution, torch, needs):
    """Builds for a device and previews count as their version."""
    assert _pair(distribution, torch, needs) is None


def test_torchvision_of_another_torch(distribution):
    """Else ``import torchvision`` fails, and not with these words."""
    message = _pair(distribution, '2.13.0+cpu', 'torch (==2.11.0)')
    assert message == (
        'torch 2.13.0+cpu is installed, but torchvision 0.26.0 needs '
        'torch==2.11.0: they only work in pairs\n'
        'install with: pip install "torch==2.11.0"'
    )


def test_no_notice_of_deprecation(recwarn):
    """mmengine reloads pkg_resources, which warns each time."""
    host.repair_pkg_resources()
    warnings.warn('pkg_resources is deprecated as an API. See', stacklevel=1)
    assert not [w for w in recwarn if 'pkg_resources' in str(w.message)]


WITHOUT_PKG_RESOURCES = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == 'pkg_resources':
            path = [folder for folder in sys.path if 'compat' in folder]
        return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
from ovd.host import repair_pkg_resources
repair_pkg_resources()
import clip
import mmdet
from mmengine.config import Config
from mmengine.utils import get_installed_path, is_installed
import pkg_resources
assert 'compat' in pkg_resources.__file__, pkg_resources.__file__
assert is_installed('mmdet') and not is_installed('no_such_package')
assert get_installed_path('mmdet') == mmdet.__path__[0]
config = Config.fromfile(sys.argv[1])
assert config.model.type == 'FasterRCNN', config.model
"""


def test_without_pkg_resources(tmp_path):
    """As with setuptools 82: openai-clip and ``mmdet::`` bases still work."""
    config = tmp_path / 'config.py'
    config.write_text("_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'")
    run = subprocess.run(
        [sys.executable, '-c', WITHOUT_PKG_RESOURCES, str(config)],
        capture_output=True,
        text=True,
        cwd=Path(host.__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr


def test_lvis_finds_its_float():
    """lvis asks for np.float, which is not put back into NumPy itself."""
    import lvis.eval
    import numpy

    assert lvis.eval.np.float is float
    assert lvis.eval.np.cumsum is numpy.cumsum
    assert not hasattr(numpy, 'float')

"""The range of host packages that ovd works with, and their repairs."""

import sys
import warnings
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Optional

import packaging.version
from packaging.requirements import Requirement
from packaging.version import Version

# name on import -> (package to install, lowest version, first one too new)
HOST_RANGE = {
    'torch': ('torch', '2.6', '3'),
    'torchvision': ('torchvision', '0.21', '1'),
    'mmengine': ('mmengine==0.10.7', '0.10.5', '0.11'),
    'mmcv': ('mmcv-lite==2.1.0', '2.0.0rc4', '2.2'),
    'mmdet': ('mmdet==3.3.0', '3.2', '3.4'),
}


def check_host() -> None:
    """Raise unless every host package is there in a version that works.

    Raises:
        ImportError: With one line per package that is missing or out of
            range, or torchvision made for another torch, and the command
            that installs what is needed.
    """
    problems, install = [], []
    for module, (package, lowest, too_new) in HOST_RANGE.items():
        found = _installed_version(module)
        if found is None:
            problems.append(f'{module} is not installed')
        elif not Version(lowest) <= Version(found) < Version(too_new):
            problems.append(f'{module} {found} is installed')
        else:
            continue
        problems[-1] += f', ovd needs >={lowest},<{too_new}'
        install.append(
            package if '==' in package else f'"{package}>={lowest},<{too_new}"'
        )
    fitting = None if problems else _torch_for_torchvision()
    if fitting is not None:
        problems.append(
            f'torch {_installed_version("torch")} is installed, but '
            f'torchvision {_installed_version("torchvision")} needs '
            f'{fitting}: they only work in pairs'
        )
        install.append(f'"{fitting}"')
    if problems:
        raise ImportError(
            '\n'.join(problems)
            + '\ninstall with: pip install '
            + ' '.join(install)
        )


def _installed_version(module: str) -> Optional[str]:
    """Return the version of an importable module, None where it is absent."""
    if find_spec(module) is None:
        return None
    names = {'mmcv': ('mmcv', 'mmcv-lite')}.get(module, (module,))
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return getattr(__import__(module), '__version__', None)


def _torch_for_torchvision() -> Optional[str]:
    """Return the torch that torchvision needs, None where it is there."""
    try:
        needs = map(Requirement, metadata.requires('torchvision') or [])
    except metadata.PackageNotFoundError:  # built from source, say
        return None
    found = _installed_version('torch')
    assert found is not None  # else it is named before
    for need in needs:
        if need.name == 'torch' and not need.specifier.contains(
            found, prereleases=True
        ):
            return str(need)
    return None


def repair_host() -> None:
    """Meet the known breakages of the pinned host packages in one place."""
    from .mmcv_ops import install

    repair_pkg_resources()
    repair_lvis()
    install()


def repair_pkg_resources() -> None:
    """Give openai-clip and mmengine the ``pkg_resources`` that they import.

    openai-clip reads ``pkg_resources.packaging``, gone since setuptools 70;
    mmengine's ``mmdet::`` lookup reads ``get_distribution``, gone with the
    whole module since setuptools 82.
    """
    # The notice is for the authors of the two packages, not for users; for
    # good, because mmengine reloads the module at each lookup.
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated')
    if find_spec('pkg_resources') is None:
        sys.path.append(str(Path(__file__).parent / 'compat'))
    import pkg_resources

    if not hasattr(pkg_resources, 'packaging'):
        pkg_resources.packaging = packaging


def repair_lvis() -> None:
    """Give lvis 0.5.3 the ``np.float`` that it evaluates with.

    NumPy 1.24 removed it. It is put back for the one module that asks for
    it, not into NumPy.
    """
    import lvis.eval
    import numpy

    if hasattr(numpy, 'float'):
        return
    repaired = ModuleType('numpy')
    vars(repaired).update(vars(numpy), float=float)
    lvis.eval.np = repaired

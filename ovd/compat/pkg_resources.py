"""The part of ``pkg_resources`` that mmengine, openai-clip and pytest use.

On the path only where setuptools no longer brings the real one (82 and
later); see :func:`ovd.host.repair_pkg_resources`. A file of its own because
mmengine reloads the module each time it looks a package up.
"""

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import packaging.version  # noqa: F401  (openai-clip reads packaging.version)

DistributionNotFound = metadata.PackageNotFoundError


def get_distribution(name: str) -> SimpleNamespace:
    """Return ``version`` and ``location`` of an installed distribution.

    The location is the folder that holds its module, where the module has
    the distribution's name; it is not site-packages in an editable install.
    """
    found = metadata.distribution(name)
    location = Path(str(found.locate_file('')))
    spec = find_spec(name)
    if spec is not None and spec.origin is not None:
        location = Path(spec.origin).parent.parent
    return SimpleNamespace(version=found.version, location=str(location))


def fixup_namespace_packages(path_item: str) -> None:
    """Do nothing; pytest calls it when a module of this name is loaded."""

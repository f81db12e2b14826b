"""The part of ``pkg_resources`` that mmengine and openai-clip use.

On the path only where setuptools no longer brings the real one (82 and
later); see :func:`ovd.host.repair_pkg_resources`. A file of its own because
mmengine reloads the module each time it looks a package up.
"""
from importlib import metadata
from types import SimpleNamespace

import packaging.version  # noqa: F401  (openai-clip reads packaging.version)

DistributionNotFound = metadata.PackageNotFoundError


def get_distribution(name: str) -> SimpleNamespace:
    """Return ``version`` and ``location`` of an installed distribution."""
    found = metadata.distribution(name)
    return SimpleNamespace(
        version=found.version, location=str(found.locate_file('')))

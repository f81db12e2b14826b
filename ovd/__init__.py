"""Open-vocabulary detection by distilling CLIP, for MMDetection 3.x.

Importing the package registers everything it has in MMDetection's
registries: ``custom_imports = dict(imports=['ovd'])`` in a config is enough.
Where no mmdet is installed, ``ovd.artifacts``, ``ovd.clip`` and
``ovd.datasets.gzsl_split`` still work.
"""

from importlib.util import find_spec

from .host import check_host, repair_host
from .version import __version__

__all__ = ['__version__']

if find_spec('mmdet') is not None:
    check_host()
    repair_host()
    from . import datasets, engine, evaluation, models  # noqa: F401

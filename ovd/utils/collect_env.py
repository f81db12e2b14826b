"""Print what a bug report has to say of a machine.

example: python -m ovd.utils.collect_env
"""

import subprocess
from importlib import metadata
from pathlib import Path
from typing import Dict

import mmcv.ops
from mmengine.utils.dl_utils import collect_env as collect_host_env

from ovd.version import __version__

PACKAGES = (
    'mmdet',
    'mmcv',
    'mmcv-lite',
    'openai-clip',
    'open-clip-torch',
    'pycocotools',
    'lvis',
    'hotcoco',
    'safetensors',
    'numpy',
)
SOURCE = Path(__file__).parents[2]


def collect_env() -> Dict[str, str]:
    """Return what mmengine tells of the machine, and what ovd stands on.

    Returns:
        Dict[str, str]: Text by what it tells; packages that are not installed
        are left out.
    """
    env = {key: str(value) for key, value in collect_host_env().items()}
    for package in PACKAGES:
        try:
            env[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    env['mmcv ops'] = mmcv.ops.get_compiler_version()
    env['ovd'] = f'{__version__}, {describe_source()}'
    return env


def describe_source() -> str:
    """Return the commit of this checkout, and whether it was changed."""
    try:
        described = subprocess.run(
            ['git', 'describe', '--always', '--dirty', '--exclude=*'],
            cwd=SOURCE,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return 'not a git checkout'
    return f'commit {described.stdout.strip()}'


if __name__ == '__main__':
    for what, value in collect_env().items():
        print(f'{what}: {value}')

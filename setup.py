"""Metadata of the package; lint and test settings are in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# torch, torchvision and mmcv are the user's choice and not listed: an install
# must neither replace a torch that fits the machine's GPU nor put mmcv-lite
# over a compiled mmcv (two distributions of the same package `mmcv`).
# `import ovd` checks all three and says what to install.
REQUIRES = [
    'hotcoco>=1.3,<2',
    'jinja2>=3.1',
    'lvis>=0.5.3',
    'matplotlib>=3.6',
    'mmdet>=3.2,<3.4',
    'mmengine>=0.10.5,<0.11',
    'msgspec>=0.18',
    'numpy>=1.24',
    'openai-clip>=1.0.1',
    'packaging>=22',
    'pillow>=9.5',
    'pycocotools>=2.0.7',
    'safetensors>=0.4.3',
    'scipy>=1.10',
    'terminaltables>=3.1',
    'tqdm>=4.60',
]


def read_readme() -> str:
    """Return the text of README.md, which an sdist may lack."""
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.is_file() else ''


setup(
    name='ovd',
    version=runpy.run_path(str(ROOT / 'ovd/version.py'))['__version__'],
    description='Open-vocabulary detection by distilling CLIP, '
    'for MMDetection 3.x',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    # compat holds one module for sys.path and is no package of its own.
    packages=find_packages(include=['ovd', 'ovd.*']) + ['ovd.compat'],
    package_data={'ovd.apis': ['templates/*.html'], 'ovd.apis.web': ['*.css']},
    install_requires=REQUIRES,
    extras_require={
        'lite': ['mmcv-lite==2.1.0'],
        'dev': [
            'mypy>=1.11',
            'playwright>=1.45',
            'pre-commit>=3.5',
            'pytest>=8',
            'pytest-xdist>=3.5',
            'ruff>=0.9',
            'supervision>=0.26',
        ],
        # With a hyphen: older pip, such as 23.2, finds none with underscores.
        'open-clip': ['open_clip_torch>=3'],
        'demo': ['gradio>=6.31,<7'],
        'supervision': ['supervision>=0.26'],
        'tensorboard': ['tensorboard>=2.14'],
    },
)

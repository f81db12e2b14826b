"""Fixtures shared by the tests: CLIP files, tools run in here, a browser."""

import contextlib
import functools
import io
import itertools
import os
import runpy
import shutil
import sys
import sysconfig
import traceback
from collections import OrderedDict
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Callable, Iterator, Optional
from unittest import mock

import mmengine.config.config
import mmengine.config.utils
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

# Before any test imports mmdet, which needs mmcv's ops in place.
import ovd  # noqa: F401
from ovd.clip import weights


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each file in one process, and the whole of the road."""
    from xdist.scheduler import LoadFileScheduling

    class RoadScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return 'road' if '/test_road/' in f'/{file}' else file

    return RoadScheduling(config, log)


@pytest.fixture(scope='session', autouse=True)
def quick_configs() -> Iterator[None]:
    """Spare each config of a test what takes the host seconds.

    It reads all metafiles of mmdet for each base, and formats the text of a
    config several times for each runner.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            mmengine.config.utils,
            'load',
            functools.cache(mmengine.config.utils.load),
        )
        patch.setattr(
            mmengine.config.config,
            'FormatCode',
            lambda text, **kwargs: (text, True),
        )
        yield


@pytest.fixture(scope='session', autouse=True)
def own_names() -> Iterator[None]:
    """Give each runner a logger and a message hub of its own.

    The host names them after the second that a runner is built in, so that
    one would log to where an earlier test of the same second was read.
    """
    numbers = itertools.count()

    def rename(runner: Runner, name: str) -> None:
        vars(runner)['_experiment_name'] = f'{name}_{next(numbers)}'

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Runner,
            '_experiment_name',
            property(lambda runner: vars(runner)['_experiment_name'], rename),
            raising=False,
        )
        yield


@pytest.fixture(autouse=True)
def no_old_runs() -> Iterator[None]:
    """Forget the loggers, message hubs and visualizers of a test's runs.

    The files of runs that are over are taken from the loggers that stay: the
    host writes to them without a look when it initialises weights.
    """
    kinds = (MMLogger, MessageHub, Visualizer, *Visualizer.__subclasses__())
    with contextlib.ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(mock.patch.dict(kind._instance_dict))
        yield
    for logger in MMLogger._instance_dict.values():
        for handler in [*logger.handlers]:
            if getattr(handler, 'stream', handler) is None:
                logger.removeHandler(handler)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No CLIP is anywhere, and none is downloaded."""

    def refuse(*args: object) -> None:
        raise OSError('there is no network')

    monkeypatch.setattr(weights, 'download', refuse)
    monkeypatch.setattr(weights, 'CACHE_FOLDER', tmp_path / 'cache')


def _save_tiny_clip(folder: Path, name: str, **kwargs) -> str:
    from ovd.clip.building import build_clip, save_clip

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_clip(
            embed_dim=64,
            image_resolution=64,
            transformer_width=64,
            transformer_layers=2,
            **kwargs,
        )
    path = folder / f'{name}.pt'
    save_clip(model, path)
    return str(path)


@pytest.fixture(scope='session')
def tiny_clip_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a random CLIP with the dimensions of the miniature's."""
    return _save_tiny_clip(
        tmp_path_factory.mktemp('clip'),
        'tiny',
        vision_layers=(1, 1, 1, 1),
        vision_width=16,
    )


@pytest.fixture(scope='session')
def tiny_vit_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a random CLIP whose image tower is a vision transformer."""
    return _save_tiny_clip(
        tmp_path_factory.mktemp('clip'),
        'tiny_vit',
        vision_layers=2,
        vision_width=64,
        vision_patch_size=16,
    )


@pytest.fixture(scope='session')
def run_tool() -> Callable[..., CompletedProcess]:
    """Function that runs a tool as the command line does, but in here.

    A process of its own takes seconds to import everything anew. It takes the
    path of the tool below ``tools/``, its options, and ``cwd``. As in a new
    process there is no visualizer yet: one would log to an earlier run.
    """
    tools = Path(__file__).parents[1] / 'tools'

    def run(
        tool: str, *options: object, cwd: Optional[Path] = None
    ) -> CompletedProcess:
        argv = [str(tools / tool), *map(str, options)]
        out, err = io.StringIO(), io.StringIO()
        before, path, code = os.getcwd(), list(sys.path), 0
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, 'argv', argv)
            for kind in (Visualizer, *Visualizer.__subclasses__()):
                patch.setattr(kind, '_instance_dict', OrderedDict())
            os.chdir(cwd or before)
            sys.path.insert(0, str(Path(argv[0]).parent))
            try:
                runpy.run_path(argv[0], run_name='__main__')
            except SystemExit as end:
                code = (
                    end.code
                    if isinstance(end.code, int)
                    else int(end.code is not None)
                )
                if isinstance(end.code, str):
                    print(end.code, file=err)
            except Exception:  # noqa: BLE001  (what Python would print)
                traceback.print_exc(file=err)
                code = 1
            finally:
                os.chdir(before)
                sys.path[:] = path
        return CompletedProcess(argv, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope='session')
def cpp_compiler() -> None:
    """Skip where PyTorch can compile nothing."""
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    for absent, what in (
        (not shutil.which('g++'), 'no C++ compiler'),
        (not header.exists(), 'no headers of Python'),
        (' ' in torch.__file__, 'a space in the path to torch'),
    ):
        if absent:
            pytest.skip(what)


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('OVD_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session')
def browser() -> Iterator[Any]:
    """Playwright's ``Browser``: Chromium without a window.

    ``browser.new_page()`` opens a page. While it runs, this thread has an
    event loop, so that ``asyncio.run`` works in other threads alone. Where
    ``OVD_NEEDS_BROWSER`` is set, as in CI, tests without a browser fail.
    """
    miss = pytest.fail if os.environ.get('OVD_NEEDS_BROWSER') else pytest.skip
    try:
        from playwright import sync_api as playwright
    except ImportError:
        miss('playwright is not installed')
    path = shutil.which('chromium') or shutil.which('chromium-browser')
    if path is None:
        miss('chromium is not installed')
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=path, args=['--no-sandbox']
        )
        yield chromium
        chromium.close()

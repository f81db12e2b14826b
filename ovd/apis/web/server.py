"""Puts the page on the network, this machine's alone unless told otherwise."""

import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from ovd.artifacts.files import PathLike

from ..open_vocabulary_detector import OpenVocabularyDetector
from .limits import Limits
from .visits import Visits

EXAMPLES = Path('data/miniature/val')
MOST_EXAMPLES = 8
MOST_NAMES = 8  # of the detector's own, at first
REMEMBERED = 4  # images that stay encoded


def run_web_demo(
    config: PathLike,
    checkpoint: PathLike,
    host: str = '127.0.0.1',
    port: int = 7860,
    score_thr: float = 0.3,
    limits: Limits = Limits(),  # noqa: B008
    device: str = 'auto',
) -> None:
    """Serve a page about a detector until it is interrupted.

    Args:
        config (PathLike): Config file.
        checkpoint (PathLike): Checkpoint, or folder of a training run.
        host (str): Address to listen at. Defaults to this machine's own,
            which no other reaches.
        port (int): Port to listen at. Defaults to 7860.
        score_thr (float): Threshold at first. Defaults to 0.3.
        limits (Limits): What visitors may give.
        device (str): See :class:`OpenVocabularyDetector`.

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If Gradio is not installed.
        OSError: If the port is taken, or the host not of this machine.
        ValueError: If a number is out of range, or see
            :class:`OpenVocabularyDetector`.
    """
    if not 0 <= score_thr <= 1:
        raise ValueError(f'--score-thr must be in 0 to 1, got {score_thr:g}')
    check_gradio()
    check_port(host, port)  # rather now than after a large checkpoint
    detector = OpenVocabularyDetector(
        config, checkpoint, device, remember=REMEMBERED
    )
    with serve(Visits(detector, limits), host, port, score_thr) as page:
        print(f'{page.local_url} (Ctrl-C ends it)', flush=True)
        page.block_thread()


def check_gradio() -> None:
    """Raise unless Gradio is installed.

    Raises:
        ImportError: If it is not.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "the page needs Gradio: pip install 'ovd[demo]' (in a checkout: "
            f"pip install -e '.[demo]'); {error}"
        ) from error


def check_port(host: str, port: int) -> None:
    """Raise unless one can listen there.

    Raises:
        OSError: If the port is taken, or the host not of this machine.
        ValueError: If there is no such port.
    """
    if not 0 < port < 65536:
        raise ValueError(f'--port must be in 1 to 65535, got {port}')
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise OSError(
                f'can not listen at port {port} of {host} '
                f'({error.strerror or error}): choose another with --port, or '
                'an address of this machine with --host'
            ) from error


@contextmanager
def serve(
    visits: Visits, host: str, port: int, score_thr: float
) -> Iterator[Any]:
    """Serve the page from a thread; the context is its ``gradio.Blocks``.

    What visitors upload lies in a folder that goes with the server.

    Args:
        visits (Visits): What finds and keeps.
        host (str): Address to listen at.
        port (int): Port to listen at.
        score_thr (float): Threshold at first.
    """
    with (
        tempfile.TemporaryDirectory(prefix='ovd-page-') as folder,
        _environment(GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_ENABLED='False'),
    ):
        import gradio as gr

        from .page import STYLE, build_page

        page = build_page(
            visits,
            'Find what you name',
            visits.detector.classes[:MOST_NAMES],
            score_thr,
            sorted(EXAMPLES.glob('*.png'))[:MOST_EXAMPLES],
        )
        # Fonts of the machine: others would come from the network.
        theme = gr.themes.Default(
            font=['system-ui', 'sans-serif'],
            font_mono=['ui-monospace', 'monospace'],
        )
        page.launch(
            server_name=host,
            server_port=port,
            quiet=True,
            share=False,
            prevent_thread_lock=True,
            inbrowser=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            theme=theme,
            css_paths=STYLE,
            max_file_size=visits.limits.max_bytes,
        )
        try:
            yield page
        finally:
            page.close(verbose=False)
            visits.close()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set what Gradio takes from the environment alone."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

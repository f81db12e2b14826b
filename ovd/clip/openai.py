"""openai-clip, imported in one place, with what it needs to import at all."""

from ovd.host import repair_pkg_resources

repair_pkg_resources()  # openai-clip does not import without it
import clip  # noqa: E402
from clip.clip import _MODELS as OPENAI_URLS  # noqa: E402
from clip.clip import _download as download  # noqa: E402
from clip.model import CLIP, build_model, convert_weights  # noqa: E402

__all__ = [
    'CLIP',
    'OPENAI_URLS',
    'build_model',
    'clip',
    'convert_weights',
    'download',
]

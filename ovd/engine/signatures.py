"""Which arguments a registered class or function takes."""

import ast
import functools
import inspect
import textwrap
from types import FunctionType
from typing import Any, Callable, FrozenSet, Optional, Tuple

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

NAMED = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)
# Classes that keep **kwargs for a function. A wrong one would stop a training
# at its first checkpoint.
PASSED_ON = {CheckpointHook: Runner.save_checkpoint}


@functools.cache
def accepted_arguments(target: Callable[..., Any]) -> Optional[FrozenSet[str]]:
    """Return the names of all arguments that a call may give.

    ``**kwargs`` that a class hands to ``super().__init__`` are followed to
    its bases.

    Args:
        target (Callable): A class or a function.

    Returns:
        FrozenSet[str] or None: None where it can't be told for certain, such
        as for other uses of ``**kwargs`` or a decorated ``__init__``.
    """
    if isinstance(target, FunctionType):
        names, rest = _parameters(target)
        return None if rest or hasattr(target, '__wrapped__') else names
    if (
        not inspect.isclass(target)
        or target.__new__ is not object.__new__
        or type(target).__call__ is not type.__call__
    ):
        return None
    accepted: FrozenSet[str] = frozenset()
    for cls in target.__mro__[:-1]:
        init = vars(cls).get('__init__')
        if init is None:
            continue
        if not isinstance(init, FunctionType) or hasattr(init, '__wrapped__'):
            return None
        names, rest = _parameters(init)
        accepted |= names - {'self'}
        if rest is None:
            break
        if cls in PASSED_ON:
            accepted |= _parameters(PASSED_ON[cls])[0]
            break
        read = _taken_from(init, rest, cls.__name__)
        if read is None:
            return None
        accepted |= read
    return accepted


def _parameters(
    function: FunctionType,
) -> Tuple[FrozenSet[str], Optional[str]]:
    """Return the names that can be given, and that of ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    rest = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
    return frozenset(p.name for p in parameters if p.kind in NAMED), rest[
        0
    ] if rest else None


def _taken_from(
    init: FunctionType, rest: str, name: str
) -> Optional[FrozenSet[str]]:
    """Return the names that ``__init__`` of a class itself reads of ``rest``.

    None unless all others go to ``super().__init__``, and nowhere else.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, SyntaxError):
        return None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    read = [
        call.args[0].value
        for call in calls
        if ast.unparse(call.func)
        in (f'{rest}.get', f'{rest}.pop', f'{rest}.setdefault')
        and isinstance(call.args[0], ast.Constant)
        and isinstance(call.args[0].value, str)
    ]
    handed = [
        call
        for call in calls
        if ast.unparse(call.func)
        in ('super().__init__', f'super({name}, self).__init__')
        and any(
            keyword.arg is None and ast.unparse(keyword.value) == rest
            for keyword in call.keywords
        )
    ]
    uses = sum(
        isinstance(node, ast.Name) and node.id == rest
        for node in ast.walk(tree)
    )
    if not handed or uses != len(read) + len(handed):
        return None
    return frozenset(read)

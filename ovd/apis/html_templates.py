"""How the HTML templates of this package are filled."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def template_environment() -> Environment:
    """Return what reads ``templates``: all is escaped, nothing may lack."""
    return Environment(
        loader=PackageLoader('ovd.apis', 'templates'),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )

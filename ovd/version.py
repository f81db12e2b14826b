"""Version of the package; read by setup.py without importing ovd."""

__version__ = '0.1.0'

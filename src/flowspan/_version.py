"""The version, once; the build and the instrumentation scope read it here."""

__version__ = "0.1.0"

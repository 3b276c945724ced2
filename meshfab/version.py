"""The one place for the version: the build reads it here; nothing asks for the installed metadata, which is slow."""

__version__ = "0.2.0"

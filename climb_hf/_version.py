"""The version of the package, in one place that neither setuptools nor a test has to import the library for."""

__version__ = "0.1.0"

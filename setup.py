"""Packs the three scripts with the package, out of the way of others that are called evaluate. See pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["synthmed_tf", "synthmed_tf.*"]), "synthmed_tf.scripts"],
    package_dir={"synthmed_tf.scripts": "."},
)

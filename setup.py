"""Packs the three scripts inside the package, out of the way of others that are called evaluate. See pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["synthmed_tf", "synthmed_tf.*"]),
    package_dir={"synthmed_tf.scripts": "."},
    py_modules=[f"synthmed_tf.scripts.{name}" for name in ("train_stage1", "train_stage2", "evaluate")],
)

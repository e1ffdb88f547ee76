"""Installs the package synthmed_tf and its three commands. Settings of the tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
README = HERE / "README.md"

setup(
    name="synthmed_tf",
    version=re.search(r'__version__ = "(.+)"', (HERE / "synthmed_tf" / "__init__.py").read_text(encoding="utf-8"))[1],
    description="Synthetic medical images from dual GANs, with a report on their use, faithfulness and privacy",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.12",  # what tensorflow-addons 0.23 has wheels for, and what the code's syntax needs
    packages=find_packages(include=["synthmed_tf", "synthmed_tf.*"]),
    package_data={"synthmed_tf.reporting": ["templates/*"]},
    scripts=["train_stage1.py", "train_stage2.py", "evaluate.py"],
    install_requires=[
        "absl-py",
        "h5py",
        "Jinja2",
        "joblib",
        "matplotlib",
        "numpy<2",  # TensorFlow 2.15 was built for numpy 1
        "pillow",
        "scikit-image",
        "scikit-learn",
        "scipy",
        "setuptools<81",  # TensorBoard 2.15 imports pkg_resources
        "tensorflow-addons==0.23.0",  # with TensorFlow 2.15 the last pair that fits together
        "tensorflow==2.15.*",
        "tqdm",
    ],
    extras_require={
        "dicom": ["pydicom>=3"],
        "gpu": ["tensorflow[and-cuda]==2.15.1"],  # 2.15.0 asks for a TensorRT that cannot be installed
        "notebooks": ["ipykernel", "nbclient", "nbformat"],
        "test": ["pytest", "pytest-xdist", "ruff", "tifffile"],
        "tfds": [
            "tensorflow-datasets",
            "tensorflow-metadata<1.16",
        ],  # later ones need a protobuf that TensorFlow refuses
        "wsi": ["openslide-bin", "openslide-python"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)

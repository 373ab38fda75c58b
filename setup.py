"""Packaging of kerasft. The versions it was tested with are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version():
    """Reads `__version__` without importing the package, whose dependencies are not installed yet."""
    text = (ROOT / "kerasft" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE).group(1)


setup(
    name="kerasft",
    version=version(),
    description="Fine-tunes pretrained models the Keras way, up to a SavedModel that answers from raw input",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["kerasft", "kerasft.*"]),
    package_data={"kerasft": ["**/*.html", "**/*.json", "**/*.yaml"]},
    entry_points={"console_scripts": ["kerasft = kerasft.cli:main"]},
    # TensorFlow, its text operations, Keras and KerasHub are released together and checked together:
    # one minor version of each. tensorflow-text needs the distribution called `tensorflow`.
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "tensorflow-text>=2.21,<2.22; platform_system != 'Windows'",
        "tensorflow-serving-api>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "keras-hub>=0.32,<0.33",
        "keras-nlp>=0.32,<0.33",
        "keras-cv>=0.9,<0.10",
        "keras-tuner>=1.4.8,<2",
        "tensorboard>=2.20,<3",
        "tensorflow-datasets>=4.9.9,<5",
        "importlib_resources>=6",  # tensorflow-datasets needs it and does not say so (tensorflow/datasets#11212).
        "transformers>=5.0,<6",
        "tokenizers>=0.22",
        "sentencepiece>=0.2,<0.3",
        "huggingface_hub>=1.0",
        "safetensors>=0.6,<1",
        "filelock>=3.18",
        "numpy>=2.1,<3",
        "pandas>=3.0,<4",
        "pyarrow>=20,<27",
        "scikit-learn>=1.7,<2",
        "scipy>=1.15,<2",
        "sacrebleu>=2.5,<3",
        "matplotlib>=3.10,<4",
        "pillow>=11,<14",
        "PyYAML>=6.0.2,<7",
        "rich>=14,<16",
        "typer>=0.16,<1",
    ],
    extras_require={
        "dev": [
            "build>=1.2",
            "hypothesis>=6.130",
            "mypy>=1.17",
            "pytest>=8.4",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "ruff>=0.12",
        ],
        "docs": ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.30"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)

import subprocess
import sys
from importlib import import_module

import pytest

from models_ml import registry

TABLES = [registry.ENCODERS, registry.ANNOTATORS, registry.METHODS, registry.NETWORKS]

IMPORT_ALL = """
import importlib, pkgutil, sys, models_ml
for module in pkgutil.walk_packages(models_ml.__path__, "models_ml."):
    importlib.import_module(module.name)
print([name for name in ("torch", "transformers", "django") if name in sys.modules])
"""


@pytest.mark.parametrize("target", [target for table in TABLES for target in table.values()])
def test_it_names_things_that_exist(target):
    module, attribute = target.split(":")
    assert callable(getattr(import_module(module), attribute))


def test_it_builds_with_options():
    annotator = registry.annotator("offline", encoder=registry.encoder("minilm"), temperature=0.5)
    assert annotator.name == "offline"
    assert "t=0.5" in annotator.model


def test_it_says_what_it_knows():
    with pytest.raises(KeyError, match="minilm"):
        registry.encoder("nobody")


def test_importing_models_ml_loads_no_torch():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr

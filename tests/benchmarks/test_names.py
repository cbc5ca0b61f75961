"""The names that the command line knows are those of what there is."""

import importlib
import pkgutil
from dataclasses import fields

import pytest

import benchmarks.human.data
import benchmarks.metrics
from benchmarks import names
from benchmarks.human import sources
from benchmarks.metrics import registry
from benchmarks.personalization.methods.registry import METHODS
from benchmarks.speed.groups import GROUPS


def tables(package, name):
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    found = {module: getattr(importlib.import_module(f"{package.__name__}.{module}"), name, {}) for module in modules}
    return {module: table for module, table in found.items() if table}


def test_metrics_are_those_of_the_modules():
    assert {module: tuple(table) for module, table in tables(benchmarks.metrics, "METRICS").items()} == names.METRICS
    assert list(registry.find_metrics(names.list_metrics())) == names.list_metrics()


def test_data_sets_methods_and_groups_are_those_there_are():
    assert tuple(name for table in tables(benchmarks.human.data, "SOURCES").values() for name in table) == names.SOURCES
    assert tuple(sources.collect_sources()) == names.SOURCES
    assert tuple(METHODS) == names.METHODS
    assert tuple(GROUPS) == names.GROUPS


def test_presets_and_settings_are_those_of_the_methods():
    assert sorted({name for method in METHODS.values() for name in method.presets}) == sorted(names.PRESETS)
    found = {name: tuple(field.name for field in fields(method.config("paper"))) for name, method in METHODS.items()}
    assert found == names.SETTINGS


def test_unknown_names_come_with_the_nearest_and_with_all():
    for check, wrong, said in (
        (names.check_metrics, ["psnr", "lpips"], "unknown metric 'lpips': did you mean lpips-vgg or lpips-alex"),
        (names.check_metrics, ["0000"], "unknown metric '0000': Known: clip-t-b32, .*; timm:NAME, "),
        (names.check_source, "kadid", "unknown data set 'kadid': did you mean kadid10k"),
        (names.check_methods, ["fabrik"], r"unknown method 'fabrik': did you mean fabric\? Known: plain, "),
        (names.check_groups, [], "got groups none; expected some of startup"),
    ):
        with pytest.raises(ValueError, match=said):
            check(wrong)
    names.check_metrics(["mini", "timm:vit", "hf:a/b", __file__, "tests"])

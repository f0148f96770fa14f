"""Warnings about private values before a push, and what scrub removes."""

import json
import sys
from enum import Enum
from types import ModuleType

import pytest
from helpers import with_cfg

from audiocraft_export import ExportOptions
from audiocraft_export.errors import OptionError

from .releases import REPO, SHARED, pushed, released

PRIVATE = {"datasource": {"train": "/home/joe/music"}, "mail": "joe@example.org", "wandb": {"key": "hf_" + "a" * 30},
           "slurm": {"partition": "big"}}


def test_pushing_without_scrub_lists_private_values(make_xp, hub, export):
    make_xp(**{"xp.cfg": with_cfg(**PRIVATE)})
    for flags, is_pushed in (["--dry-run"], False), ([], True):
        result = export(*SHARED, *flags)
        assert result.returncode == 0
        for said in (f"the push to {REPO} publishes 3 values that look private; scrub=public removes",
                     "`datasource.train` = /home/joe/music (an absolute path)",
                     "`mail` = joe@example.org (a user name, an e-mail address)", "`wandb.key` = hf_a... (a token)"):
            assert said in result.stderr, result.stderr
        assert "a" * 20 not in result.stderr and (REPO in hub.repos) == is_pushed
    result = export(*SHARED, "--scrub", "wandb", "--dry-run")
    assert "2 values that look private" in result.stderr and "wandb.key" not in result.stderr
    result = export(*SHARED, "--scrub", "wandb", "--scrub", "datasource", "--dry-run")
    assert "1 value that looks private" in result.stderr
    result = export(*SHARED, "--scrub", "wandb", "--scrub", "datasource", "--scrub", "mail", "--dry-run")
    assert result.stderr == ""


def test_the_classes_of_a_project_are_listed_and_not_named_for_the_public(make_xp, hub, export, monkeypatch):
    module = ModuleType("mycompany_secret")
    module.Model = type("Model", (), {"__module__": "mycompany_secret"})
    monkeypatch.setitem(sys.modules, "mycompany_secret", module)
    folder = make_xp(extra=module.Model()) / "export"
    named = export(*SHARED, "--dry-run")
    assert "private value: export.json: `warnings` = mycompany_secret.Model (a module name)" in named.stderr
    result = export(*SHARED, "--scrub", "public", "--card")
    assert result.returncode == 0 and "1 unknown class or function" in result.stderr, result.stderr
    everything = b"".join([*released(folder).values(), *pushed(hub).values()])
    assert b"mycompany" not in everything and b"1 unknown class or function" in everything


def test_an_enumeration_of_a_project_is_not_named_for_the_public(make_xp, hub, export, monkeypatch):
    module = ModuleType("mycompany_secret")
    module.Where = Enum("Where", {"HOME": "/home/joe/music", "ON": 1}, module="mycompany_secret")
    monkeypatch.setitem(sys.modules, "mycompany_secret", module)
    folder = make_xp(**{"xp.cfg": with_cfg(where=module.Where.HOME, use=module.Where.ON)}) / "export"
    result = export(*SHARED, "--scrub", "public", "--card")
    assert result.returncode == 0, result.stderr
    everything = b"".join([*released(folder).values(), *pushed(hub).values()])
    assert b"mycompany" not in everything and b"joe" not in everything and b"use: 1" in everything


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_scrubbed_values_are_in_no_released_file(make_xp, hub, export, format):
    folder = make_xp(**{"xp.cfg": with_cfg(**PRIVATE, note="${datasource.train}/x")}) / "export"
    result = export("--format", format, "--push-to-hub", REPO, "--scrub", "public", "--scrub", "optim.l*", "--card")
    assert result.returncode == 0 and "private value" not in result.stderr, result.stderr
    everything = b"".join([*released(folder).values(), *pushed(hub).values()])
    private = (b"joe", b"wandb:", b"hf_a", b"partition", b"lr:", b"datasource:")
    assert not [word for word in private if word in everything]
    assert b"solver: mine" in everything and not export_again(export, format)


def export_again(export, format):
    return json.loads(export("--format", format, "--scrub", "public", "--scrub", "optim.l*", "--card",
                             "--json").stdout)["result"] == "exported"


def test_a_pattern_that_matches_nothing_or_can_match_nothing_is_reported(make_xp, export):
    make_xp()
    assert "scrub=dataset.pth matches no key" in export("--scrub", "dataset.pth").stderr
    result = export("--scrub", "a..b")
    assert result.returncode == 2 and "Invalid scrub pattern 'a..b'" in result.stderr
    result = export("--scrub", "publik")
    assert result.returncode == 2 and "did you mean 'public'?" in result.stderr


@pytest.mark.parametrize("scrub", [5, True, False, {"a": 1}, ["a", 1], "public,optim", ["a", "b,c"], "a b"], ids=str)
def test_scrub_must_be_a_list_of_patterns(scrub):
    with pytest.raises(OptionError, match="Invalid (value .* for scrub: expected a list|scrub pattern .* Use a)"):
        ExportOptions(scrub=scrub)

"""Allowed globals, and the keys of dicts in a pickle."""

from pickle import UnpicklingError

import pytest

from audiocraft_export.checkpoint.allowlist import SAFE_GLOBALS, AllowedGlobal, Storage, UnknownGlobal, to_key


def test_a_key_that_takes_long_to_hash_is_unknown_and_one_that_cannot_be_is_refused():
    assert to_key(("a", 1)) == ("a", 1)
    for value in (1 << 61, float("inf"), (1,) * 17, ((1,),), ({},)):
        assert isinstance(to_key(value), UnknownGlobal)
    for value in ([], {}):
        with pytest.raises(UnpicklingError):
            to_key(value)


def test_every_allowed_global_is_inert_data_by_its_own_name():
    assert ("builtins", "eval") not in SAFE_GLOBALS and ("os", "system") not in SAFE_GLOBALS
    for (module, name), value in SAFE_GLOBALS.items():
        assert isinstance(value, Storage) or isinstance(value, AllowedGlobal) and value.name == f"{module}.{name}"

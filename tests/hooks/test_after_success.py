"""The end of a training: a return and exit code 0 are a success, everything else is not."""

import pytest

from audiocraft_export.hooks.after_success import after_success


@pytest.mark.parametrize(("end", "is_success"), [
    (None, True), (SystemExit(), True), (SystemExit(0), True), (SystemExit(1), False), (SystemExit("failed"), False),
    (ValueError(), False), (KeyboardInterrupt(), False)])
def test_a_function_is_called_once_after_a_success(end, is_success):
    calls = []

    def train():
        with after_success(lambda: calls.append("done")):
            if end is not None:
                raise end
            return "result"
    if end is None:
        assert train() == "result"
    else:
        with pytest.raises(type(end)) as raised:
            train()
        assert raised.value is end
    assert calls == ["done"] * is_success


def test_an_error_of_the_function_is_raised():
    for end in (None, SystemExit(0)):
        with pytest.raises(ZeroDivisionError), after_success(lambda: 1 / 0):
            if end is not None:
                raise end

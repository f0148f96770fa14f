"""An argument parser that answers wrong usage with the closest commands, options and values."""

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from ..errors import OptionError, alternatives, did_you_mean
from ..experiment.xp import MANIFEST
from ..options import CHOICES, ExportOptions

TARGET = re.compile(r"(?=.*\d)[0-9a-f]{1,7}|[0-9a-f]{8}|.*\.(th|bin|safetensors)")  # a signature or a file
NO_VALUE = re.compile(r"argument (\S+): expected (?:one|at least one|\d+) arguments?")
SYNONYMS = {"-f": ["--force", "--folder"], "-j": ["--jobs"], "-n": ["--dry-run"], "-o": ["--folder"],
            "--output": ["--folder"]}
NOT_OFFERED = ("-h", "--help", "-V", "--version")
PROG, COMMAND = "audiocraft-export", "COMMAND"


class Parser(argparse.ArgumentParser):
    """An argument parser that reports wrong usage as an error with a hint."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as an `OptionError`."""
        match = NO_VALUE.fullmatch(message)
        text = self._without_value(match[1]) if match else message
        raise OptionError("invalid-arguments", text, f"see {self.prog} --help")

    def _without_value(self, flags: str) -> str:
        action = self._option_string_actions[flags.split("/")[0]]
        values = [*(action.choices or ()), *filter(None, CHOICES.get(action.dest, ()))]
        return f"{flags} requires a value{f': {alternatives(values)}' if values else ''}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse an argument that is not one of its choices, and offer the closest one."""
        if action.choices is None or value in action.choices:
            return
        if action.metavar == COMMAND:
            raise _unknown_command(str(value), [*action.choices])
        choices = [*map(str, action.choices)]
        raise OptionError("invalid-arguments", f"invalid value {value!r} for {'/'.join(action.option_strings)}: "
                          f"expected {alternatives(choices)}",
                          did_you_mean(str(value), choices, f"see {self.prog} --help"))


def positive(text: str) -> int:
    """Parse the value of an option that is a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive integer")
    return int(text)


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands by their names, without other names of the same commands."""
    found: dict[int, str] = {}
    for name, own in _subparsers(parser).choices.items():
        found.setdefault(id(own), name)
    return {name: _subparsers(parser).choices[name] for name in found.values()}


def short_help(parser: argparse.ArgumentParser, examples: str) -> str:
    """Return a line for each command, and examples."""
    shown = [f"  {each.dest:<9}{each.help}" for each in _subparsers(parser)._choices_actions]
    return "\n".join([f"usage: {parser.prog} COMMAND ...", "", f"{parser.description}", "", "commands:", *shown, "",
                      examples.rstrip()])


def check_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuse the first unknown option, before argparse reports what is missing because of it.

    Raises:
        OptionError: with the closest option in its hint.
    """
    verbs, own = _subparsers(parser).choices, parser
    rest = iter(words)
    for word in rest:
        flag, known = word.partition("=")[0], own._option_string_actions
        if word == "--" or own is parser and not word.startswith("-") and word not in verbs:
            return
        if re.match(r"--?[a-zA-Z]", word) and flag not in known and word[:2] not in known:
            raise _unknown_flag(flag, own, parser)
        if own is parser and word in verbs:
            own = verbs[word]
        elif own is parser and word in known and known[word].nargs is None:
            next(rest, None)  # the value of an option before the command


def _unknown_flag(flag: str, own: argparse.ArgumentParser, parser: argparse.ArgumentParser) -> OptionError:
    """Return the error for an unknown option: its hint has the closest one, or the command that has the option."""
    where = f" for '{own.prog.split()[-1]}'" if own is not parser else ""
    return OptionError("unknown-option", f"unknown option '{flag}'{where}",
                       _closest_flag(flag, own) or _command_of(flag, own, parser) or f"see {own.prog} --help")


def _closest_flag(flag: str, own: argparse.ArgumentParser) -> str:
    flags = [known for known in own._option_string_actions if known not in NOT_OFFERED]
    guesses = (SYNONYMS.get(flag, []), [ExportOptions.flag_of(flag.lstrip("-"))],
               get_close_matches(flag, flags, 1, 0.75))
    found = ([guess for guess in group if guess in flags] for group in guesses)
    return next((f"did you mean {alternatives(group)}?" for group in found if group), "")


def _command_of(flag: str, own: argparse.ArgumentParser, parser: argparse.ArgumentParser) -> str:
    if flag in parser._option_string_actions:
        return f"did you mean {PROG} {flag}?"
    names = [name for name, other in commands(parser).items() if flag in other._option_string_actions]
    where = ": write it after the command" if own is parser else ""
    return f"it is an option of {alternatives(names)}{where}" if names else ""


def _unknown_command(word: str, names: Sequence[str]) -> OptionError:
    """Return the error for a word that is not a command: a target without a command, or a typo."""
    if os.path.exists(word) or os.path.basename(word) != word or TARGET.fullmatch(word):
        target = shlex.quote(word)
        verbs = ("verify", "inspect") if _is_release(word) else ("run", "inspect")
        return OptionError("invalid-arguments", f"{target} is not a command, but a target",
                           f"did you mean {alternatives([f'{PROG} {verb} {target}' for verb in verbs])}?")
    hint = did_you_mean(word, names, f"see {PROG} --help")
    return OptionError("invalid-arguments", f"unknown command {word!r}", hint)


def _is_release(path: str) -> bool:
    return os.path.basename(path) == MANIFEST or any(
        os.path.exists(os.path.join(folder, MANIFEST)) for folder in (path, os.path.dirname(path)))


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))

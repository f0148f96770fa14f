"""Find private values wherever they occur, show no tokens, and report few harmless values."""

import getpass
import time
from pathlib import Path

import pytest

from audiocraft_export.experiment.privacy.detectors import HOST, MAIL, PATH, TOKEN, USER, KnownNames
from audiocraft_export.experiment.privacy.exposure import find_private_values

from .text import exposed_in_text

NOBODY = KnownNames()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
SECRETS = {
    "hf": "hf_" + "aB3" * 11, "github": "ghp_" + "aB3" * 12, "fine-grained": "github_pat_11" + "aB3_" * 12,
    "aws": "AKIA" + "Z2Y3" * 4, "openai": "sk-proj-" + "aB3-" * 10, "slack": "xoxb-" + "123-" * 6, "jwt": JWT,
    "google": "AIza" + "aB3_-" * 7, "gitlab": "glpat-" + "aB3-" * 6, "key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3B",
}


def kinds(value, key="x", names=NOBODY):
    return [exposure.kind for exposure in find_private_values({key: value}, names)]


@pytest.mark.parametrize("value", [
    "/home/joe/music", "/data", "/mnt/a b/c", "//home/joe", "file:///home/joe/x.pt", "~/music", "~joe/music",
    "C:\\Users\\joe", "D:/data/x", "\\\\server\\share\\x", "data=/srv/music", "a:/srv/music", "['/srv/music']",
    "^/checkpoint/[a-z]+", "source /opt/conda/bin/activate", "//pretrained//home/joe/codec.bin",
    "/checkpoint/${oc.env:USER}/x", "${oc.env:DATA,/srv/music}", "s3://bucket/data", "/srv/музыка", "(/srv/x)"])
def test_an_absolute_path_is_found_in_every_form(value):
    assert kinds(value) == [PATH]


@pytest.mark.parametrize("value", [
    "/", "//", "//pretrained/facebook/encodec_32khz", "//sig/0123abcd", "//reference/0123abcd/checkpoint.th",
    "//reference/clap/x.pt", "audio/32khz", "t5-base", "egs/example", "facebook/encodec_32khz", "./outputs", "../x/y",
    "a / b", "1/2", "44100 / 2", "kbit/s", "16 kHz/mono", "https://github.com/facebookresearch/audiocraft",
    "text2music/chroma", "${oc.env:HOME}", "${oc.env:HOME}/x", "${datasource.train}", "HTSAT-base", "128k", "<b>x</b>",
    "1.3.0", "2026-01-02T03:04:05+00:00", "audio_example", "a@b", "@dataclass", "n.68_g.01_c1.model", "???", "", None,
    True, 3, 0.5])
def test_a_harmless_value_is_not_found(value):
    assert kinds(value) == []


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_token_is_found_anywhere_and_shown_nowhere(secret):
    for values in ({"x": secret}, {"x": [f"--key={secret}"]}, {secret: 1}, {"api_key": secret},
                   {"x": f"/home/joe/{secret}"}, {"x": f"/srv/x?t={secret}"}):
        found = find_private_values(values, NOBODY)
        assert TOKEN in [each.kind for each in found], values
        assert secret not in "".join(map(str, found)) + repr(found)
    found = exposed_in_text("README.md", f"Use it:\n  token = {secret}\n")
    assert [(each.kind, each.key) for each in found] == [(TOKEN, "README.md:2")] and secret not in str(found)
    assert found[0].value == f"{secret[:4]}..."


@pytest.mark.parametrize(("key", "value"), [
    ("password", "hunter2"), ("db_password", 12345), ("password", 1234.5), ("MYSQL_PWD", "hunter2"),
    ("passwords", "hunter2"), ("wandb_api_key", "0123456789abcdef" * 2 + "01234567"),
    ("apiKey", "x1"), ("secret", "x"), ("aws_secret_access_key", "x/y+z"), ("token", "Ab3" * 8), ("key", "0a1b" * 10),
    ("password", "${oc.env:PW,hunter2}"), ("Authorization", "Bearer " + "Ab3" * 8)])
def test_a_value_is_a_token_by_its_key(key, value):
    for values in ({key: value}, {"a": {key: [value]}}, {key: {"name": value}} if "password" in key else {key: value}):
        assert [each.kind for each in find_private_values(values, NOBODY)] == [TOKEN]
        assert str(value) not in str(find_private_values(values, NOBODY)[0])


@pytest.mark.parametrize(("flag", "value"), [
    ("--password", "hunter2"), ("--api-key", "hunter"), ("-u", "joe:hunter2"), ("--auth", "x1y2")])
def test_an_argument_in_a_list_is_a_token_by_its_flag(flag, value):
    command = ["curl", flag, value, "--verbose", "high"]
    for values in ({"cmd": command}, {"cmd": [["ls", "-l"], command]}, [command]):
        found = find_private_values(values, NOBODY)
        assert [(each.kind, each.path[-1]) for each in found] == [(TOKEN, "2")] and value not in str(found[0])


@pytest.mark.parametrize("command", [
    ["--password", "--verbose"], ["--password", None], ["--token", "${oc.env:TOKEN}"], ["--user", "joe"],
    ["--password=hunter2x", "names"], ["--key", "C"], {"a": "--password", "b": "hunter2"}], ids=str)
def test_other_arguments_of_a_list_are_no_tokens(command):
    last = "b" if isinstance(command, dict) else "1"
    assert [each for each in find_private_values({"cmd": command}, NOBODY) if each.path[-1] == last] == []


@pytest.mark.parametrize("section", ["credentials", "secrets", "db_password", "passwords", "api_keys"])
def test_each_value_of_a_secret_section_is_a_token_at_any_depth(section):
    values = {section: {"wandb": {"prod": ["hunter2", {"deeper": 1234.5}]}}}
    assert [each.kind for each in find_private_values(values, NOBODY)] == [TOKEN, TOKEN]
    assert find_private_values({section: {"a": {"b": {"c": None, "d": True, "e": "${oc.env:X}"}}}}, NOBODY) == []


@pytest.mark.parametrize(("key", "value"), [
    ("tokenizer", "noop"), ("pad_token", "<pad>"), ("tokens", {"padding_with_special_token": False}), ("key", "C"),
    ("max_tokens", 250), ("password", None), ("password", ""), ("password", "${oc.env:PASSWORD}"), ("token", "???"),
    ("use_secret", True), ("keys", ["title", "bpm"]), ("git_commit", "0a1b" * 10), ("sha256", "0a1b" * 16),
    ("user", "${oc.env:USER}"), ("user", "root"), ("host", "localhost"), ("nodes", 4), ("user", None)])
def test_a_key_that_only_sounds_private_is_not(key, value):
    assert kinds(value, key) == []


@pytest.mark.parametrize(("key", "value", "kind"), [
    ("user", "joe", USER), ("slurm.account", "lab7", USER), ("owner", "joe-${seed}", USER), ("mail_user", "joe", USER),
    ("wandb.entity", "joes-lab", USER), ("user", "${oc.env:USER,joe}", USER), ("host", "gpu7", HOST),
    ("master_addr", "gpu7", HOST), ("nodelist", "gpu[1-7]", HOST), ("x", "tcp://gpu7:29500", HOST),
    ("x", "gpu-7:29500", HOST), ("x", "gpu7.lab.org:8080", HOST), ("x", "10.0.0.7", HOST),
    ("x", "joe.doe@lab.example.org", MAIL), ("x", "Joe <joe@lab.org>", MAIL),
    ("x", "https://joe:hunter2@lab.org/git", TOKEN)])
def test_people_and_machines_are_found(key, value, kind):
    *sections, name = key.split(".")
    values = {name: value}
    for section in reversed(sections):
        values = {section: values}
    found = find_private_values(values, NOBODY)
    assert [(each.kind, each.key) for each in found] == [(kind, key)] and "hunter2" not in str(found)


def test_the_user_and_the_machine_of_here_are_found_as_words(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "bigbox.lab.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "joedoe")
    monkeypatch.setenv("HOME", "/somewhere/joes-home")
    for value, kind in [("joedoe", USER), ("runs/joedoe/7", USER), ("joedoe_v2", USER), ("joes-home", USER),
                        ("bigbox", HOST), ("on bigbox.lab.org", HOST)]:
        assert kinds(value, names=None) == [kind], value
        assert [each.kind for each in exposed_in_text("x", value)] == [kind]
        assert kinds(value) == []
    assert kinds("joedoes bigboxes", names=None) == []


def test_a_machine_without_a_user_name_is_not_an_error(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1234")
    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert KnownNames.of_this_machine().users == frozenset()


def test_names_that_every_text_has_are_not_looked_for(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    monkeypatch.setattr(getpass, "getuser", lambda: "root")
    monkeypatch.setenv("HOME", "/root")
    assert KnownNames.of_this_machine() == KnownNames()


def test_whose_home_folder_is_named_is_found_elsewhere():
    values = {"train": "/home/joedoe/music", "label": "for joedoe", "mac": "/Users/anna/x", "name": "anna_2"}
    assert [(each.key, each.kind) for each in find_private_values(values, NOBODY)] == [
        ("train", PATH), ("label", USER), ("mac", PATH), ("name", USER)]
    text = "Trained in /home/joedoe/xps.\nBy joedoe."
    assert [(each.key, each.kind) for each in exposed_in_text("a", text, NOBODY)] == [("a:1", PATH), ("a:2", USER)]


def test_private_keys_of_sections_and_bytes_are_found():
    values = {"/home/joedoe/a": {"w": 1}, "x": {"/data/y": {"z": {}}, "by": [{"hf_" + "a" * 30: {"n": [1]}}]},
              "raw": b"/srv/music", b"/srv/key": 1, "who": "for joedoe",
              "auth": {"pass": "hunter2", "passt": {"n": "x"}}}
    assert [(each.key, each.kind) for each in find_private_values(values, NOBODY)] == [
        ("/home/joedoe/a", PATH), ("x./data/y", PATH), ("x.by.0.hf_a...", TOKEN), ("raw", PATH), ("b'/srv/key'", PATH),
        ("who", USER), ("auth.pass", TOKEN)]


def test_an_exposure_is_one_sentence_with_its_key():
    found = find_private_values({"datasource": {"train": ["egs/x", "/home/joe/music"]}, "/data/x": 1}, NOBODY)
    assert list(map(str, found)) == ["`datasource.train.1` = /home/joe/music (an absolute path)",
                                     "`/data/x` = 1 (an absolute path)"]
    long, = find_private_values({"x": "/srv/" + "y" * 500 + "\n\x1b[31m"}, NOBODY)
    assert len(str(long)) < 120 and "\x1b" not in str(long)


def test_each_kind_is_reported_once_per_value():
    assert kinds("/a/x /a/y joe@lab.org anna@lab.org") == [MAIL, PATH]
    found = exposed_in_text("log", "see /srv/a and /srv/b, /srv/a\n", NOBODY)
    assert [each.value for each in found] == ["/srv/a", "/srv/b"]


@pytest.mark.parametrize("piece", ["a", "/a", "a.", "a@", "1.", "a-", "${", "\\", "~", "//", "eyJ", "sk-", "a:1 ",
                                   ":/"])
def test_hostile_text_takes_no_time(piece):
    start = time.process_time()
    text = piece * (50_000 // len(piece))
    find_private_values({"x": text, "y": text + "!"}, KnownNames(frozenset({"joe"})))
    exposed_in_text("x", text)
    assert time.process_time() - start < 5

"""Detect private values in a string: paths, names of users and machines, e-mail addresses, tokens.

Names of users and machines are recognized by their context (`/home/joe`, `host: node1`), or are known (`KnownNames`).
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TOKEN, MAIL, PATH, USER, HOST = ("a token", "an e-mail address", "an absolute path", "a user name", "a host name")
MAX_USERS = 100  # user names taken from home folders in a configuration; every value is searched for each of them
START = r"(?:(?<![^\s\"'`=:,;|(\[{>^])|(?<=//pretrained/)|(?<=\s-[IL]))"  # of a word, after `//pretrained/` or `-I`
# Top-level domains of private networks; not `Internal`, which may be the name of a class.
INTERNAL = r"(?:local|lan|internal|intranet|intra|corp|home\.arpa|LOCAL|LAN|INTERNAL|INTRANET|INTRA|CORP)"
VARIABLE = r"\$\{[^{}\s]{0,200}\}"  # an interpolation, which is not a secret itself

TOKEN_FORMATS = {  # patterns by service; prefixes as in the rules of gitleaks
    "Hugging Face": r"\b(?:hf_|api_org_)[A-Za-z0-9]{16,}",
    "GitHub, GitLab": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
                      r"|gl(?:pat|cbt|dt|ft|rt|ptt|oas|soat|agent)-[\w-]{16,})",
    "OpenAI, Stripe": r"\b(?:sk-|[sr]k_(?:live|test)_)(?=[\w-]{0,200}\d)[\w-]{20,}",
    "AWS": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b|\barn:aws[\w-]{0,10}:[\w-]{0,30}:[\w-]{0,30}:\d{12}:[^\s\"'`]+"
           r"|(?<![\w+/=.-])(?=[^a-z]{0,39}[a-z])(?=[^A-Z]{0,39}[A-Z])(?=\D{0,39}\d)[A-Za-z0-9+/]{40}(?![\w+/=.-])",
    "Google": r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}",
    "Slack": r"\bxox[a-z]-[\w-]{10,}",
    "npm, PyPI": r"\bnpm_[A-Za-z0-9]{36}|\bpypi-[\w-]{50,}",
    "Docker, NVIDIA": r"\b(?:dckr_pat_|nvapi-)[\w-]{20,}",
    "Weights & Biases": r"\bwandb_v\d_\w{20,}|\bwandb login\s{1,3}(?:--\S{1,40}\s{1,3})?[\w-]{20,}",
    "others": r"\b(?:r8_|LTAI|do[opr]_v1_|dapi|shp(?:at|ss|ca|pa)_|lin_api_|ntn_|secret_|tgp_v1_|gsk_|pplx-|xai-"
              r"|hv[bs]\.|pul-|glsa_|NRAK-|dp\.(?:pt|st)\.|sntrys_|SG\.|key-|SK)(?=[A-Za-z_-]{0,60}\d)[\w.-]{20,}"
              r"|\b\w{14}\.atlasv1\.[\w-]{20,}",
    "JSON Web Token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]+)?|\beyJ[\w+/=-]{40,}",
    "key block": r"-{4,5} ?BEGIN [A-Z0-9 ]{3,60}-{4,5}[^\"']*|\bPuTTY-User-Key-File[^\"']*|\bAGE-SECRET-KEY-1\w{20,}"
                 r"|\b(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S{1,30}) AAAA[\w+/=]{20,}"
                 r"|\b(?:b3BlbnNzaC1rZXktdj|MI[IG][A-Za-z0-9+/]{40})[\w+/=]*",  # first bytes of a key in base64
    "user info of an address": rf"(?<=://)(?!git@|{VARIABLE}(?::{VARIABLE})?@)(?:[^\s/?#@\"'`<>]{{1,200}}(?=@)"
                               r"|[^\s:/?#@\"'`<>]{0,200}:(?!\d{1,5}[/?#])[^\s@\"'`<>]{1,200}(?=@))",
    "query of an address": r"(?<=[?&#;])(?i:x-(?:amz|goog)-(?:signature|credential|security-token)"
                           r"|(?:aws|oss)accesskeyid"
                           r"|sig|q-ak|(?:q-)?signature|policy|key-pair-id|\w{0,20}token"
                           r"|(?:\w{1,20}_)?(?:api_?)?key|auth|code|pw|pwd|pass|password|secret"
                           rf"|\w{{1,20}}_secret)=(?!{VARIABLE})[^\s&#\"'`<>]{{3,}}",
    "chat webhook": r"\bhooks\.slack\.com/[^\s\"'`<>]{8,}"
                    r"|(?<=://)(?!git(?:hub|lab)\.com/)[^\s\"'`<>?#]{1,200}?/(?:bot/v2/|web)?hooks?/[^\s\"'`<>]{6,}"
                    r"|\bmaker\.ifttt\.com/[^\s\"'`<>]+|\bdiscord(?:app)?\.com/api/(?:v\d+/)?webhooks/[^\s\"'`<>]+"
                    r"|\b(?:webhook\.office|outlook\.office(?:365)?)\.com/webhook[^\s\"'`<>]+"
                    r"|\blogic\.azure\.com[:\d]{0,6}/[^\s\"'`<>]{8,}"
                    r"|\bchat\.googleapis\.com/v1/spaces/[^\s\"'`<>]+"
                    r"|\bapi\.telegram\.org/bot[^\s\"'`<>]+|\b\d{8,10}:AA[\w-]{30,}",
    "Azure": rf"\b(?i:AccountKey|SharedAccessKey|SharedAccessSignature)=(?!{VARIABLE})[^\s;\"'`]{{4,}}"
             r"|(?<![\w+/])[A-Za-z0-9+/]{86}==",
    "header": rf"\bBearer\s{{1,3}}(?!{VARIABLE})[\w.+/=~-]+"
              r"|\bbearer\s{1,3}(?=[a-zA-Z._-]{0,99}\d)[\w.+/=~-]{8,}"
              r"|\b(?i:authorization|private-token|(?:set-)?cookie|x-[\w-]{0,20}(?:key|token))[\"']?\s{0,3}[:=]\s{0,3}"
              rf"[\"']?(?!(?:\w{{1,20}}\s{{1,3}})?{VARIABLE}|null\b)(?:\w{{1,20}}\s{{1,3}})?[^\s\"'`<>]{{4,}}"
              r"|\b(?i:basic\s{1,3})(?=[A-Za-z]{0,99}[\d+/=])[A-Za-z0-9+/]{8,}={0,2}",
    "assignment in a string": r"(?<![A-Za-z0-9])(?i:password|passwd|passphrase|pwd|(?:client_|app_)?secret"
                              r"|\w{0,20}(?:access|secret)[_-]?key(?:_?id)?|api[_-]?key|private[_-]?key(?:_?id)?"
                              r"|(?:access|auth)[_-]?token)"
                              r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
                              rf"(?!{VARIABLE}|\?\?\?|(?i:none|null|true|false)\b)[^\s\"'`,;&<>]{{4,}}"
                              rf"|(?<![\w])(?i:--pass|--pw|pass|pw)=(?!{VARIABLE})[^\s\"'`,;&<>]{{4,}}"
                              r"|(?<![\w-])(?i:pass|pw|\w{0,20}token|auth)[\"']?\s{0,3}[:=]\s{0,3}[\"']?"
                              r"(?=[^\s\d]{0,60}\d)"
                              rf"(?=[^\sA-Za-z]{{0,60}}[A-Za-z])(?!{VARIABLE})[\w.+/=~-]{{6,}}"
                              r"|(?<![\w-])--(?:[\w-]{1,20}[_-])?(?:pass(?:word|wd|phrase)?|pw|token|key|secret|auth)"
                              r"(?:\s{1,3}|=)[\"']?(?![-$]|(?i:none|null|true|false)\b)[^\s\"']{4,}"
                              r"|\b[A-Z][A-Z0-9_]{0,30}(?:PASSWORD|_PASS|_PWD|_PW|_TOKEN|_SECRET)="  # in a shell
                              rf"(?!{VARIABLE}|[$])[\"']?[^\s\"'`,;&<>]{{4,}}"
                              r"|(?<![\w-])(?:-u|--user)\s{1,3}[\w.+-]{1,64}:[^\s\"'`$]+"
                              r"|\blogin\s{1,3}\S{1,64}\s{1,3}password\s{1,3}\S+",
}
PATH_FORMATS = {
    "file URL": rf"{START}(?i:file):/+[^\s\"'`)>]+",
    "remote repository": r"(?<![\w.+/@-])[\w.+-]{1,64}@[A-Za-z0-9][\w.-]{0,253}:[\w./~][^\s\"'`)>]*",
    "remote storage": r"\b(?i:s3a?|gs|gcs|hdfs|abfss?|wasbs?|az|adl|oss|cos|obs|b2|dbfs|nfs|smb|afp|ftps?|sftp|ssh"
                      r"|rsync):/{1,2}[^\s\"'`)>]+",
    "encoded": r"(?i:%2F(?:home|users|root|mnt|data|scratch|checkpoint|srv)%2F)[^\s\"'`)>]*",
    "Windows drive": rf"{START}[A-Za-z]:(?:\\|/(?!/))[^\s\"'`]*",
    "Windows share": rf"{START}\\\\+[\w.-]+\\+[^\s\"'`]+",
    "home folder": rf"{START}~[\w.-]*[/\\][^\s\"'`]*",
    "POSIX": rf"{START}(?!//(?:pretrained|sig|reference)\b)(?:/|(?<!:)//)(?=[^\s/\"'`]{{2}}|[^\s/\"'`]/\S)"
             r"(?![^A-Za-z\s/]*(?:\s|$))[\w.$~{@+%(-][^\s\"'`,;)\]>|]*",
}
HOST_FORMATS = {
    "name and port": r"(?<![\w.@/-])(?:(?:[A-Za-z][\w-]{0,62}\.){1,8}[A-Za-z][\w-]{0,62}"
                     r"|(?=[A-Za-z]{1,62}[\d-])[\w-]{2,63}):\d{4,5}(?![\w.])",
    "IPv4 address": r"(?<![\w.-])(?!127\.|0\.0\.0\.0)(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])",
    "IPv6 address": r"(?<![\w:.])(?=[^\s\d]{0,40}\d)(?:[0-9A-Fa-f]{3,4}:(?:[0-9A-Fa-f]{1,4}:){0,6}:[0-9A-Fa-f]{0,4}"
                    r"(?::[0-9A-Fa-f]{1,4}){0,6}|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4})(?![\w:.])",
    "user at a host": r"(?<![\w.+/:@-])(?!(?i:acc|accuracy|ap|f1|git|hits?|map|mrr|ndcg|pass|precision|recall|top)@)"
                      r"[A-Za-z][\w.+-]{1,63}@(?!(?:v?\d|latest|main|master|head|stable|dev)\b)"
                      r"[A-Za-z][\w-]{1,62}(?![\w@.-])",
    "list of hosts": r"(?<![\w$.-])[A-Za-z][\w-]{0,62}\[(?!0-9\])\d{1,6}(?:[-,]\d{1,6})+\][\w.-]{0,99}"
                     r"|(?<![\w$.-])[A-Za-z][\w-]{0,62}\{\d{1,6}\.\.\d{1,6}\}[\w.-]{0,99}",
    "internal name": rf"(?<![\w.@/-])(?:[A-Za-z0-9][\w-]{{0,62}}\.){{1,8}}{INTERNAL}(?![\w-]|\.\w)"
                     rf"|(?<=://)(?!localhost\b)(?:[A-Za-z][\w-]{{1,62}}(?=[:/\s]|$)|[\w.-]{{1,99}}\.{INTERNAL}\b"
                     r"|\[(?!::1\])[0-9A-Fa-f:.]{3,45}\])",
    "service URL": r"\b(?:tcp|grpc|redis|postgres(?:ql)?|mysql|mongodb|amqp|ldaps?|kafka|nats|ray|clickhouse)://[^\s\"'`)>]+",
}
TOKENS, PATHS, HOSTS = (re.compile("|".join(formats.values()))
                        for formats in (TOKEN_FORMATS, PATH_FORMATS, HOST_FORMATS))
MAILS = re.compile(r"(?<![\w.+/-])(?!git@)[\w.+-]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b")
DETECTORS = ((TOKEN, TOKENS), (MAIL, MAILS), (PATH, PATHS), (HOST, HOSTS))

SECRET_KEYS = re.compile(r"(?:^|_)(?:(?:pass_?(?:word|wd|phrase)s?|secrets?|credentials?"
                         r"|(?:api|access|secret|private|auth|signing|encryption)_?keys?"
                         r"|(?:api|access|auth|refresh|hf|github|gitlab|wandb)_?tokens?)(?:_|$)|pwd$)")
WHOLE_SECRET_KEYS = {"pass", "pw", "pwd"}  # secret only as whole keys, unlike `low_pass`
TOKEN_KEYS = re.compile(r"(?:^|_)(?:tokens?|key|auth|authorization|bearer|cookie)$")
TOKEN_LIKE = re.compile(r"(?:Bearer )?(?=[^\s\d]*\d)(?=[^A-Za-z]*[A-Za-z])(?![/~])[\w.+/=-]{16,}")
USER_KEYS = re.compile(r"(?:^|_)(?:user|username|user_?name|login|owner|author|entity|account|e?mail)$")
HOST_KEYS = re.compile(r"(?:^|_)(?:hosts?|host_?name|node|node_?list|server|machine|addr|ip)$")
KEY_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
INTERPOLATION = re.compile(r"\$\{\s*[^{}$,]*|\}")
HOMES = re.compile(r"(?:^|[/\\])(?:home|Users)[/\\]+([A-Za-z][\w.-]*)")
COMMON = {"root", "user", "users", "home", "admin", "ubuntu", "debian", "centos", "nobody", "guest", "shared", "public",
          "runner", "jovyan", "docker", "vagrant", "localhost", "localdomain", "default", "none"}


@dataclass(frozen=True)
class KnownNames:
    """Names of users and machines, which are detected wherever they occur as a word."""

    users: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of_this_machine(cls) -> KnownNames:
        """Return the names of the current user, of the home folder and of this machine."""
        host = socket.gethostname()
        hosts = (host, host.partition(".")[0])
        return cls(frozenset(filter(_is_telling, _users())), frozenset(filter(_is_telling, hosts)))

    def with_home_owners(self, texts: Iterable[str]) -> KnownNames:
        """Return these names, plus the owners of home folders that occur in strings."""
        found = sorted({name for text in texts for name in HOMES.findall(text) if _is_telling(name)})
        return KnownNames(self.users | frozenset(found[:MAX_USERS]), self.hosts)

    @property
    def detectors(self) -> list[tuple[str, re.Pattern[str]]]:
        """Kind and regular expression for known users and for known machines."""
        return [(kind, re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, sorted(names)))})(?![A-Za-z0-9])"))
                for kind, names in ((USER, self.users), (HOST, self.hosts)) if names]


def find_in_text(text: str, names: KnownNames) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each private value in a string; no part of the string is reported twice."""
    for kind, pattern in (*DETECTORS, *names.detectors):
        for found in pattern.finditer(text):
            yield kind, found[0]
        text = pattern.sub(" ", text)


def kind_by_key(key: str, value: object, name: str = "") -> str:
    """Return the kind of a value that is private because of its key, such as `api_key`; empty if it is not private.

    Args:
        key: the key, with the name of its section in front if there is one.
        name: the key alone; `key` if empty.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    words = _words(key)
    literal = INTERPOLATION.sub(" ", str(value)).strip(" ,")  # the value of an interpolation is not released
    if literal in ("", "???", "null", "none"):
        return ""
    if isinstance(value, str) and (name or key).lower() in WHOLE_SECRET_KEYS:
        return TOKEN
    if SECRET_KEYS.search(words) or TOKEN_KEYS.search(words) and TOKEN_LIKE.fullmatch(literal):
        return TOKEN
    if not isinstance(value, str) or literal in COMMON:
        return ""
    if USER_KEYS.search(words):
        return USER
    return HOST if HOST_KEYS.search(words) else ""


def is_secret_key(name: str) -> bool:
    """Return whether all values under a key are secret, such as `credentials`."""
    return bool(SECRET_KEYS.search(_words(name)))


def _words(key: str) -> str:
    return "_".join(KEY_WORDS.findall(key)).lower()


def mask_tokens(text: str) -> str:
    """Mask the tokens in a string."""
    return TOKENS.sub(lambda found: mask(found[0]), text)


def mask(token: str) -> str:
    """Replace a token with dots; long tokens keep their first four characters."""
    return f"{token[:4]}..." if len(token) >= 16 else "..."


def _users() -> Iterator[str]:
    """Yield the name of the current user and of the home folder, as far as they are known."""
    for ask in (getpass.getuser, lambda: Path.home().name):
        with suppress(OSError, KeyError, RuntimeError, ImportError):  # a user in a container may not have a name
            yield ask()


def _is_telling(name: str) -> bool:
    """Return whether a name identifies a user or a machine, unlike common words."""
    return len(name) >= 3 and name.lower() not in COMMON and not name.isdecimal()

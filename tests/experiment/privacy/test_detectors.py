"""Tables of strings that are private and of strings that are not; hostile strings take linear time."""

import time

import pytest

from audiocraft_export.experiment.privacy.detectors import KnownNames, find_in_text, kind_by_key

PRIVATE = [
    "https://T0kenT0ken@host/x", "https://joe:pw@host/x", "http://joe:pw@host:8080", "https://:pw@host",
    "postgres://joe:pw@db/x", "git+https://abc123@git.lab.org/x.git", "see https://x-token:abc@host, please",
    "https://joe:p/w@host/x", "https://oauth2:${oc.env:A}x@host", "redis://:pw@cache:6379/0",
    "https://b.s3.amazonaws.com/x?X-Amz-Signature=0a1b2c3d", "https://h/x?a=1&X-Amz-Credential=AKI/x",
    "https://a.blob.core.windows.net/c?sv=2022&sig=abc%2Bdef", "https://h/x?token=abcd", "https://h/x#access_token=abcd",
    "https://h/x?api_key=abcd", "https://h/x?key=AB12cd34", "https://h/x?X-Goog-Signature=abcd", "/x?password=abcd",
    "https://h/x?Signature=abcd&Expires=1", "https://h/x?id=1;auth=abcd", "https://h/cb?code=abcd1234",
    "https://hooks.slack.com/services/T000/B000/XXXX", "https://hooks.slack.com/workflows/T0/A0/1/x",
    "https://discord.com/api/webhooks/123/abc-def", "https://discordapp.com/api/v10/webhooks/123/abc",
    "https://lab.webhook.office.com/webhookb2/0a1b@0a/IncomingWebhook/x", "https://outlook.office.com/webhook/0a1b",
    "https://prod-1.westus.logic.azure.com:443/workflows/0a1b/triggers", "https://api.telegram.org/bot12345678:AAx/send",
    "https://chat.googleapis.com/v1/spaces/AAA/messages", "12345678:AA" + "x1-" * 11,
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abcd==", "Endpoint=sb://x/;SharedAccessKey=abcd",
    "A1b/" * 21 + "A1==", "AKIA" + "Z2Y3" * 4, "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "secretKey: abcd1234",
    '{"private_key_id": "0a1b2c3d"}', "AIza" + "aB3_-" * 7, "export AWS_SECRET_ACCESS_KEY=wJalrXUt",
    "Bearer abcd", "Authorization: Bearer x.y-z", "curl -H 'Authorization: bearer abcdef12'",
    "with Bearer Abcdef inside",
    "Basic am9lOnB3MTIz", "authorization=Basic am9lOnB3MTIz==",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3B", "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQ", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nx",
    "PuTTY-User-Key-File-3: ssh-rsa", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIx joe", "AGE-SECRET-KEY-1" + "QW3" * 10,
    "password=hunter2", "--password hunter2 --password=hunter2", "db_password: hunter2", "pass=hunter2", "--pw=hunter2",
    "curl --token=abcd1234", "run --api-key=abcd1234", "--hf-token=abcd", "--auth abcd1234",
    "--access-token='abcd1234'", "--token \"abcd1234\"", "PGPASSWORD=hunter57", "DB_PASS=hunter57", "A_TOKEN='abcd'",
    "FILE:///data/jane/x", "S3://bucket/data",
    "api_key=abcd1234", "client_secret: abcd1234", "access_token=abcd", "mysql -u x PASSWORD=hunter2",
    "joe@gpu7", "ssh joe@bigbox", "joe.doe@login-node", "joe@lab.example.org", "git@host:joe/x", "joe@10.0.0.7:/srv/x",
    "git@github.com:joe/x.git", "bigbox.lab.org:8080", "node[01-16]", "gpu[1-7,9]", "dgx-[001,003].cluster",
    "hf_abcdefgh12345678", "glrt-" + "a1B2" * 5, "GOCSPX-" + "a1B2" * 7, "LTAI5t" + "a1B2" * 5, "dapi" + "0a1b" * 8,
    "SG." + "a1B2" * 5 + "." + "a1B2" * 10, "shpat_" + "0a1b" * 8, "gsk_" + "a1B2" * 12, "hvs." + "a1B2" * 24,
    "dop_v1_" + "0a1b" * 16, "SK" + "0a1b" * 8, "secret_" + "a1B2" * 10, "wandb login " + "0a1b" * 10,
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "arn:aws:iam::123456789012:role/joe", "eyJ" + "hcGlfYWRk" * 6,
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
    "https://d1.cloudfront.net/x?Policy=eyJTdGF0&Key-Pair-Id=K2JC", "https://h/x?X-Amz-Security-Token=abc",
    "https://b.cos.ap.myqcloud.com/k?q-ak=AKIDabcd", "https://mm.lab.org/hooks/0a1b2c3d",
    "https://hooks.zapier.com/hooks/catch/123/abc/", "https://open.feishu.cn/open-apis/bot/v2/hook/abc-def",
    "https://maker.ifttt.com/trigger/x/with/key/abcd", "Bearer x", "Authorization: token abcdef", "X-Api-Key: abcdef12",
    "PRIVATE-TOKEN: abcdef12", "Cookie: session=abcdef", "pass: hunter2", "HF_TOKEN=abcd1234", "auth=abcd1234",
    "--api-key hunter", "curl -u joe:hunter2", "login joe password hunter2", "mailto:joe@lab.org", "az://lab/x",
    "%2Fhome%2Fjoe%2Fx", "node{01..16}", "node01.cluster.local", "http://gitlab.internal/x", "http://bigbox:8080/x",
    "https://bigbox/x", "nas.lan", "http://[2001:db8::1]:8080/", "ldap://dc/x",
    "nodes node[01-16],gpu[2-3]", "GPU7.LOCAL", "2001:db8::5", "fe80::1", "gcc -I/mnt/x/include -L/srv/lib",
    "sftp://host/x", "/home/joe/x", "C:\\Users\\joe", "10.1.2.3"]
HARMLESS = [
    "musicgen", "audiogen", "magnet", "compression", "diffusion", "watermarking", "text2music", "text2sound",
    "chroma2music", "clapemb2music", "passt", "HTSAT-base", "layer_norm", "layer_norm_in", "weight_norm",
    "time_group_norm", "${channels}", "${transformer_lm.card}", "${oc.env:USER}", "${sample_rate}", "//sig/5091833e",
    "//pretrained/facebook/encodec_32khz", "//pretrained/dac_44khz", "//reference/clap/music_audioset_epoch_15.pt",
    "t5-base", "t5-large", "t5_emb", "google/flan-t5-base", "audio/default", "audio/example", "audio/musiccaps_32khz",
    "internal/music_400k_32khz", "egs/example", "egs/audiocaps/train", "solver/musicgen/evaluation/none",
    "encodec/encodec_large_nq4_s320", "lm/musicgen_lm", "sum", "prepend", "cross", "input_interpolate", "delay",
    "unroll", "parallel", "coarse_first", "musiclm", "adamw", "dadam", "cosine", "linear_warmup", "inverse_sqrt",
    "polynomial_decay", "multistep", "bfloat16", "float16", "autocast", "torch", "reflect", "constant", "GELU", "ELU",
    "Snake", "[0, 1]", "betas[0]", "layer[0-9]", "[8, 5, 4, 2]", "wav2vec2@v2", "recall@k", "hits@top", "map@all",
    "https://github.com/facebookresearch/audiocraft", "https://arxiv.org/abs/2306.05284", "https://example.org/x@1.0",
    "https://h/x?page=2&sort=new", "https://h/x#usage", "https://h/@joe", "https://${oc.env:TOKEN}@h/x",
    "https://${oc.env:U}:${oc.env:P}@h/x", "https://h/x?token=${oc.env:TOKEN}", "Bearer ${oc.env:TOKEN}",
    "password=${oc.env:PASSWORD}", "password: null", "the bearer of news", "Basic training", "first pass: train",
    "low_pass=8000", "pass", "pw", "secret", "token", "two passes = 2", "bypass=enabled", "pad_token=<pad>", "sig",
    "pad_token: none", "token: word", "proj.local.Net", "torch.nn.Internal", "localhost", "http://localhost:8080/x",
    "http://127.0.0.1:8080/x", "http://[::1]:80/x", "https://github.com/x/y/hooks/pre_commit.py", "0a1b" * 10,
    "A_TOKEN=${oc.env:T}", "A_TOKEN=$TOKEN", "--token=${oc.env:TOKEN}", "--auth=none", "--key=null",
    "--key ${oc.env:KEY}", "Authorization: Bearer ${oc.env:TOKEN}", "secret_santa", "eyJ", "model_token", "skip-3",
    "crest_factor", "visqol", "fad", "kld", "text_consistency", "chroma_cosine", "si_snr", "msspec", "encodec", "dummy"]


def kinds(text):
    return [kind for kind, _ in find_in_text(text, KnownNames())]


@pytest.mark.parametrize("text", PRIVATE)
def test_a_private_string_is_found_alone_and_in_a_sentence(text):
    assert kinds(text) and kinds(f"see {text} here") and kinds(f"[{text}]")


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_string_is_not_found(text):
    assert kinds(text) == [] and kinds(f"the {text} here") == []


def test_the_tables_are_as_long_as_they_should_be():
    assert len({*PRIVATE}) >= 66 and len({*HARMLESS}) >= 60 and len({*PRIVATE} & {*HARMLESS}) == 0


@pytest.mark.parametrize(("key", "name", "is_secret"), [
    ("db_pass", "pass", True), ("x_pw", "pw", True), ("pass", "", True), ("PW", "", True), ("db_pwd", "pwd", True),
    ("kld_passt", "passt", False), ("passt_model", "model", False), ("low_pass", "low_pass", False),
    ("passes", "", False), ("pass_model", "model", False)])
def test_pass_and_pw_are_secret_as_whole_keys_only(key, name, is_secret):
    assert bool(kind_by_key(key, "hunter2", name)) == is_secret
    assert kind_by_key(key, True, name) == kind_by_key(key, "${oc.env:PW}", name) == ""


@pytest.mark.parametrize(("key", "is_secret"), [
    ("access_token", True), ("hf_token", True), ("pad_token", False), ("tokens", False)])
def test_a_token_is_secret_whatever_its_value_if_its_key_names_a_service_or_a_purpose(key, is_secret):
    assert bool(kind_by_key(key, "opaque")) == is_secret


HOSTILE = [
    "a", "://", "://a:", "://a:b", "a@", "a@b", "a@b:", "?sig=", "&token", "secret_", "password", "password=",
    "Bearer ",
    "https://a/hook", "/hooks/", "authorization: ", "x-key", "a.local", "--key ", "pass1=", "0a1B", "arn:aws:", "gsk_",
    "wandb login ", "{1..",
    "bearer a", "Basic a", "-----BEGIN ", "-----BEGIN A-----", "ssh-rsa AAAA", "a[1", "a[1,", "[1,1", "1:AA", "A/",
    "hooks.slack.com/", "AccountKey=", "${", "${a}", "a.", "x_access_key", "eyJa.", " ", "1.", "pass="]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece):
    text = piece * (100_000 // len(piece))
    start = time.process_time()
    list(find_in_text(f"http://x {text}!", KnownNames(frozenset({"joe"}))))
    assert time.process_time() - start < 10


def test_a_hostile_megabyte_takes_seconds_of_cpu_time():
    text = "".join(piece * (1_000_000 // len(HOSTILE) // len(piece) + 1) for piece in HOSTILE)
    start = time.process_time()
    list(find_in_text(text, KnownNames()))
    assert len(text) > 900_000 and time.process_time() - start < 60

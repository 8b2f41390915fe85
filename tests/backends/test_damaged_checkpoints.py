"""Checkpoints that are broken, of another model, or hostile: each is refused in one line that says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.transformers_backend import loading
from lithophone.backends.transformers_backend.checkpoint import Checkpoint, embedded_checkpoint
from lithophone.errors import CheckpointError
from lithophone.granite.family import FAMILY
from tests.backends.conftest import babble, heard_by, started

SPEECH_3 = "granite-speech-3.3-2b"
SPEECH_4 = "granite-speech-4.1-2b"
PLUS = "granite-speech-4.1-2b-plus"
CTC = "granite-speech-5.0-470m-turboctc"

Damaging = Callable[[Path], None]


class Damage(NamedTuple):
    """What is done to a copy of a checkpoint, and what its refusal must say."""

    name: str
    do: Damaging
    words: str
    shape: str = SPEECH_4


def edited(file: str, *fields: str | int, value: object) -> Damaging:
    """One field of a JSON file, given by the way to it, is something else."""

    def edit(folder: Path) -> None:
        written: Any = json.loads((folder / file).read_text())
        parent = written
        for field in fields[:-1]:
            parent = parent[field]
        parent[fields[-1]] = value
        (folder / file).write_text(json.dumps(written))

    return edit


def config(*fields: str, value: object) -> Damaging:
    return edited("config.json", *fields, value=value)


def text(field: str, value: object) -> Damaging:
    return config("text_config", field, value=value)


def written(file: str, content: str | bytes) -> Damaging:
    def write(folder: Path) -> None:
        (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def cut(file: str, bytes_kept: int) -> Damaging:
    def truncate(folder: Path) -> None:
        os.truncate(folder / file, bytes_kept)  # longer than it is makes a file of zeros that takes no disk

    return truncate


def gone(*files: str) -> Damaging:
    def remove(folder: Path) -> None:
        for file in files:
            (folder / file).unlink(missing_ok=True)

    return remove


def a_folder(file: str) -> Damaging:
    def replace(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).mkdir()

    return replace


def a_loop(file: str) -> Damaging:
    def replace(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(folder / file)

    return replace


def a_pipe(file: str) -> Damaging:
    def replace(folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return replace


def both(*damages: Damaging) -> Damaging:
    def do(folder: Path) -> None:
        for damage in damages:
            damage(folder)

    return do


def template(source: str) -> Damaging:
    return written("chat_template.jinja", source)


def tensors(file: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Damaging:
    def rewrite(folder: Path) -> None:
        weights = load_file(folder / file)
        change(weights)
        save_file(weights, folder / file, {"format": "pt"})

    return rewrite


def sharded(folder: Path) -> None:
    """The same weights in two files and an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
    places = {name: file for file, part in halves.items() for name in part}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def header_that_lies(folder: Path) -> None:
    """The first tensor is said to be longer than it is."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    name = next(name for name, tensor in header.items() if tensor.get("shape"))
    header[name]["shape"][0] += 1
    changed = json.dumps(header).encode()
    file.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + size :])


def without_audio_token(folder: Path) -> None:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if t["content"] != "<|audio|>"]
    del tokenizer["model"]["vocab"]["<|audio|>"]
    file.write_text(json.dumps(tokenizer))
    edited("tokenizer_config.json", "extra_special_tokens", value=[])(folder)


def with_more_tokens(folder: Path) -> None:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    token = {**tokenizer["added_tokens"][0], "id": 5000, "content": "<|far|>"}
    tokenizer["added_tokens"].append(token)
    file.write_text(json.dumps(tokenizer))


def with_few_tokens(folder: Path) -> None:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"] = {t: i for t, i in tokenizer["model"]["vocab"].items() if i < 100}
    tokenizer["model"]["merges"] = []
    file.write_text(json.dumps(tokenizer))


def renamed(file: str, other: str) -> Damaging:
    def rename(folder: Path) -> None:
        (folder / file).rename(folder / other)

    return rename


def of_another_model(folder: Path) -> None:
    shutil.copy(embedded_checkpoint(FAMILY["granite-speech-tiny-ctc"]) / "model.safetensors", folder)


def shaped_otherwise(folder: Path) -> None:
    tensors("model.safetensors", lambda w: w.update({HEAD: torch.zeros(3, 5)}))(folder)


HEAD = "language_model.lm_head.weight"  # as files name it
NESTED = "[" * 100_000 + "]" * 100_000
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
EVERYTHING = "{% for m in messages %}{{ m['content'] }}{% endfor %}"

DAMAGES = [
    # config.json: what it says
    Damage(
        "nested",
        written("config.json", '{"model_type": "granite_speech", "x": ' + NESTED + "}"),
        "nested too deeply",
    ),
    Damage(
        "nested field", written("config.json", '{"model_type": ' + NESTED + "}"), "model_type: expected `str`"
    ),
    Damage("a list", written("config.json", "[]"), r"config\.json: Expected `object`, got `array`"),
    Damage("no text", config("text_config", value=None), "text_config: expected `object`, got `null`"),
    Damage("text is a list", config("text_config", value=[1]), "text_config: expected `object`, got `array`"),
    Damage(
        "text is a string",
        config("text_config", value="granite"),
        "text_config: expected `object`, got `str`",
    ),
    Damage(
        "size is a string", text("hidden_size", "64"), r"text_config\.hidden_size: expected `int`, got `str`"
    ),
    Damage(
        "size is a fraction",
        text("hidden_size", 64.5),
        r"text_config\.hidden_size: expected `int`, got `float`",
    ),
    Damage("size is zero", text("hidden_size", 0), r"text_config\.hidden_size: expected `int` >= 1"),
    Damage("size is missing", config("encoder_config", value={}), r"encoder_config.*missing required field"),
    Damage("layers below zero", text("num_hidden_layers", -1), r"num_hidden_layers: expected `int` >= 1"),
    Damage(
        "a thousand million layers",
        text("num_hidden_layers", 10**9),
        r"num_hidden_layers: expected `int` <= 128",
    ),
    Damage("too wide", text("hidden_size", 10**12), r"text_config\.hidden_size: expected `int` <= 65536"),
    Damage(
        "wider than numbers", text("hidden_size", 10**40), r"text_config\.hidden_size: .*(<= 65536|range)"
    ),
    Damage(
        "flag is a string", config("tie_word_embeddings", value="no"), "tie_word_embeddings: expected `bool"
    ),
    Damage("flag is a number", text("attention_bias", 1), r"text_config\.attention_bias: expected `bool"),
    Damage("factor is zero", text("logits_scaling", 0), r"logits_scaling: expected `float` > 0"),
    Damage(
        "factor is no number",
        text("logits_scaling", float("nan")),
        r"config\.json cannot be read: JSON is malformed",
    ),
    Damage(
        "heads do not divide", text("num_attention_heads", 5), r"hidden_size \(64\) must be a multiple of"
    ),
    Damage("other language model", text("model_type", "llama"), "model_type is 'llama', must be 'granite'"),
    Damage("other activation", text("hidden_act", "softmax"), "hidden_act is 'softmax', must be"),
    Damage(
        "other rotations",
        text("rope_parameters", {"rope_type": "yarn"}),
        "rope_type is 'yarn', must be 'default'",
    ),
    Damage(
        "few positions",
        text("max_position_embeddings", 64),
        "max_position_embeddings: expected `int` >= 1024",
    ),
    Damage("padding outside", text("pad_token_id", 9999), "pad_token_id 9999 is outside"),
    Damage("other features", config("encoder_config", "input_dim", value=80), "input_dim is 80, must be 160"),
    Damage("other labels", config("encoder_config", "output_dim", value=42), "output_dim is 42"),
    Damage("wide context", config("encoder_config", "context_size", value=600), "context_size 600 is larger"),
    Damage("torn windows", config("downsample_rate", value=4), r"window_size \(15\) must be a multiple of"),
    Damage(
        "narrow projector",
        config("projector_config", "encoder_hidden_size", value=32),
        "encoder_hidden_size is 32",
    ),
    Damage(
        "quantised", config("quantization_config", value={"bits": 4}), "quantised checkpoints are not served"
    ),
    Damage("far layer", config("encoder_config", "cat_hidden_layers", value=[9]), "cat_hidden_layers", PLUS),
    Damage("other labels of 5.0", config("vocab_size", value=7), "vocab_size is 7, must be", CTC),
    Damage("blank outside", config("pad_token_id", value=9999), "pad_token_id 9999 is outside", CTC),
    Damage(
        "other frames", config("encoder_config", "subsample_layers", value=[0]), "subsample_layers is 1", CTC
    ),
    # config.json: what it is
    Damage("config of 100 MB", cut("config.json", 100 << 20), r"config\.json has 105 MB"),
    Damage("config is empty", written("config.json", ""), r"config\.json cannot be read"),
    Damage("config is no text", written("config.json", b"\xff\xfe{"), r"config\.json cannot be read"),
    Damage("config is a folder", a_folder("config.json"), r"config\.json cannot be read: it is not a file"),
    Damage("config is a loop", a_loop("config.json"), r"config\.json cannot be read"),
    Damage("config is a pipe", a_pipe("config.json"), r"config\.json cannot be read: it is not a file"),
    # generation_config.json
    Damage(
        "generation is no JSON",
        written("generation_config.json", "{"),
        r"generation_config\.json cannot be read",
    ),
    Damage(
        "end outside",
        edited("generation_config.json", "eos_token_id", value=10_000),
        "eos_token_id 10000 is outside",
    ),
    Damage(
        "end is a word",
        edited("generation_config.json", "eos_token_id", value="end"),
        "eos_token_id: expected",
    ),
    Damage("no ends", edited("generation_config.json", "eos_token_id", value=[]), "eos_token_id: expected"),
    Damage(
        "no end at all",
        both(text("eos_token_id", None), gone("generation_config.json")),
        r"config\.json: eos_token_id is missing",
    ),
    # weights
    Damage("no weights", gone("model.safetensors"), "holds no weights in safetensors"),
    Damage(
        "pickled weights",
        renamed("model.safetensors", "pytorch_model.bin"),
        "holds no weights in safetensors",
    ),
    Damage("weights cut short", cut("model.safetensors", 100_000), r"model\.safetensors cannot be used"),
    Damage("weights are empty", cut("model.safetensors", 0), r"model\.safetensors cannot be used"),
    Damage(
        "weights are zeros",
        both(cut("model.safetensors", 0), cut("model.safetensors", 9000)),
        r"model\.safetensors",
    ),
    Damage(
        "endless header", written("model.safetensors", b"\xff" * 64), r"model\.safetensors cannot be used"
    ),
    Damage("lying header", header_that_lies, r"model\.safetensors cannot be used"),
    Damage(
        "weights are a folder",
        a_folder("model.safetensors"),
        r"model\.safetensors cannot be read: it is not a file",
    ),
    Damage("weights are a loop", a_loop("model.safetensors"), r"model\.safetensors cannot be read"),
    Damage("a shard is gone", both(sharded, gone("b.safetensors")), r"lacks b\.safetensors"),
    Damage("a shard is cut", both(sharded, cut("b.safetensors", 100)), r"b\.safetensors cannot be used"),
    Damage(
        "index is no JSON",
        both(sharded, written("model.safetensors.index.json", "{")),
        r"index\.json cannot be read",
    ),
    Damage(
        "index leads away",
        both(
            sharded, edited("model.safetensors.index.json", "weight_map", HEAD, value="../model.safetensors")
        ),
        r"lacks model\.safetensors",
    ),
    Damage(
        "a name that draws",
        tensors("model.safetensors", lambda w: w.update({"\x1b[31mred\nred": torch.ones(1)})),
        r"no place for, such as \?\[31mred$",
    ),
    Damage("a layer too many", text("num_hidden_layers", 3), r"lacks .* weights, such as .*layers\.2"),
    Damage("a layer too few", text("num_hidden_layers", 1), r"has no place for, such as .*layers\.1"),
    Damage("other shape", shaped_otherwise, r"other shape .* lm_head\.weight: \[3, 5\], not \[\d+, 64\]"),
    Damage(
        "weights of another model",
        of_another_model,
        r"another shape|lacks \d+ of the model's weights",
    ),
    # tokenizer
    Damage("tokenizer cut short", cut("tokenizer.json", 5000), "the tokenizer cannot be used"),
    Damage("tokenizer is no JSON", written("tokenizer.json", "tokens"), "the tokenizer cannot be used"),
    Damage("tokenizer is another JSON", written("tokenizer.json", "{}"), "the tokenizer cannot be used"),
    Damage("tokenizer is nested", written("tokenizer.json", NESTED), "the tokenizer cannot be used"),
    Damage("no tokenizer", gone("tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    Damage("tokenizer of 100 MB", cut("tokenizer.json", 100 << 20), r"tokenizer\.json has 105 MB"),
    Damage(
        "tokenizer is a pipe", a_pipe("tokenizer.json"), r"tokenizer\.json cannot be read: it is not a file"
    ),
    Damage("options are no JSON", written("tokenizer_config.json", "{"), "the tokenizer cannot be used"),
    Damage(
        "options are nested",
        written("tokenizer_config.json", '{"x": ' + NESTED + "}"),
        "the tokenizer cannot be used",
    ),
    Damage("options are a list", written("tokenizer_config.json", "[1]"), "the tokenizer cannot be used"),
    Damage("no audio token", without_audio_token, r"writes <\|audio\|> as .* audio_token_index"),
    Damage("audio token elsewhere", config("audio_token_index", value=77), r"writes <\|audio\|> as .* 77"),
    Damage("tokens without embedding", with_more_tokens, "has a token 327, and the model a vocabulary of"),
    Damage("labels without text", with_few_tokens, "labels: they are not of the same model", CTC),
    # chat template
    Damage("no template", gone("chat_template.jinja"), "no chat template"),
    Damage(
        "template is broken", template("{% for m in messages %}"), "cannot be rendered: TemplateSyntaxError"
    ),
    Damage("template is a folder", a_folder("chat_template.jinja"), r"chat_template\.jinja"),
    Damage("template of 2 MB", template(EVERYTHING + " " * (2 << 20)), "chat template is longer"),
    Damage("template looks inside", template("{{ ''.__class__.__mro__ }}"), "SecurityError"),
    Damage("template refuses", template("{{ raise_exception('only text') }}"), "TemplateError: only text"),
    Damage(
        "template counts",
        template("{% for i in range(10**9) %}{% endfor %}"),
        "cannot be rendered: OverflowError",
    ),
    Damage(
        "template floods", template("{% for i in range(99999) %}flood{% endfor %}"), "writes more than 100000"
    ),
    Damage("template fills the memory", template("{{ 'a' * 10**10 }}"), "cannot be rendered: MemoryError"),
    Damage(
        "template never ends",
        template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "takes more than 2 s",
    ),
    Damage("template says nothing", template("Hello"), r"does not write <\|audio\|>"),
    Damage(
        "template drops the audio",
        template(EVERYTHING.replace("'] ", "'].replace('<|audio|>', '') ")),
        "does not write",
    ),
    Damage("template repeats", template(EVERYTHING * 2), "does not write"),
    # adapter
    Damage("adapter is gone", gone(*ADAPTER), r"no adapter.*Download adapter_config\.json", SPEECH_3),
    Damage("adapter without weights", gone(ADAPTER[1]), r"no adapter_model\.safetensors", SPEECH_3),
    Damage("adapter without config", gone(ADAPTER[0]), "holds no adapter", SPEECH_3),
    Damage("adapter is no JSON", written(ADAPTER[0], "{"), r"adapter_config\.json cannot be read", SPEECH_3),
    Damage(
        "other rank",
        edited(ADAPTER[0], "r", value=4),
        r"adapter_model.*other shape.*\[8, 64\], not \[4, 64\]",
        SPEECH_3,
    ),
    Damage("rank is a string", edited(ADAPTER[0], "r", value="8"), "r: expected `int`", SPEECH_3),
    Damage(
        "more targets",
        edited(ADAPTER[0], "target_modules", value=["q_proj", "v_proj", "k_proj"]),
        "lacks",
        SPEECH_3,
    ),
    Damage(
        "fewer targets", edited(ADAPTER[0], "target_modules", value=["q_proj"]), "has no place for", SPEECH_3
    ),
    Damage(
        "targets nowhere",
        edited(ADAPTER[0], "target_modules", value=["nowhere"]),
        r"adapter_model\.safetensors cannot be used: .*nowhere",
        SPEECH_3,
    ),
    Damage(
        "targets are a pattern",
        edited(ADAPTER[0], "target_modules", value="(a+)+$"),
        "target_modules: exp",
        SPEECH_3,
    ),
    Damage(
        "other kind",
        edited(ADAPTER[0], "peft_type", value="IA3"),
        "peft_type is 'IA3', must be 'LORA'",
        SPEECH_3,
    ),
    Damage("DoRA", edited(ADAPTER[0], "use_dora", value=True), "use_dora is True, must be False", SPEECH_3),
    Damage("adapter cut short", cut(ADAPTER[1], 500), r"adapter_model\.safetensors cannot be used", SPEECH_3),
]


@pytest.fixture
def copy_of(shape: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(shape(name), tmp_path / name))


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.name for damage in DAMAGES])
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: Damage, copy_of: Callable[[str], Path]) -> None:
    folder = copy_of(damage.shape)
    damage.do(folder)
    with pytest.raises(CheckpointError, match=damage.words) as refused:
        started(folder)
    assert len(refused.value.message.splitlines()) == 1
    assert folder.name in refused.value.message
    assert len(refused.value.message) < 700


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_may_not_be_read_is_named(file: str, copy_of: Callable[[str], Path]) -> None:
    folder = copy_of(SPEECH_4)
    (folder / file).chmod(0)
    with pytest.raises(CheckpointError, match=rf"{file} cannot be read: Permission denied"):
        started(folder)


@pytest.fixture(scope="module")
def said(shape: Callable[[str], Path]) -> str:
    """What the checkpoint says in one second before anything is done to it."""
    return heard_by(started(shape(SPEECH_4)), babble(1.0)).text


@pytest.mark.parametrize(
    "harmless",
    [
        both(
            config("extra", value={"anything": 1}),
            config("auto_map", value={"AutoConfig": "evil.py--Config"}),
            config("configuration_files", value=["config.9.9.9.json"]),
            config("id2label", value={"x": 1}),
            text("dtype", "float7"),
            text("rope_scaling", None),
            edited("generation_config.json", "max_new_tokens", value="many"),
        ),
        gone("generation_config.json"),
        both(
            tensors(
                "model.safetensors",
                lambda w: w.update({"language_model.model.rotary_emb.inv_freq": torch.ones(8)}),
            ),
            sharded,
        ),
    ],
    ids=["other fields", "no generation config", "computed tensors, in shards"],
)
def test_what_decides_nothing_is_no_reason_to_refuse(
    harmless: Damaging, said: str, copy_of: Callable[[str], Path]
) -> None:
    folder = copy_of(SPEECH_4)
    harmless(folder)
    assert heard_by(started(folder), babble(1.0)).text == said != ""


@pytest.mark.parametrize("name", ["~nobody-of-this-name/model", "x" * 5000])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        started(Path(name))


def test_the_command_ends_with_2_and_one_line(copy_of: Callable[[str], Path]) -> None:
    """What is found at once by the server itself takes the way of any wrong setting, see `test_cli`."""
    folder = copy_of(SPEECH_4)
    tensors("model.safetensors", lambda w: w.update({HEAD: w[HEAD] * float("nan")}))(folder)
    serve = ["serve", "--port", "0", "--device", "cpu", "--model", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "lithophone", *serve], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "ready" not in done.stdout
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("lithophone:"))
    assert "not finite (lm_head.weight)" in said


def test_weights_that_do_not_fit_take_no_memory(
    copy_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def placed(*_: object) -> dict[str, Any]:
        raise AssertionError("weights are read")

    monkeypatch.setattr(loading, "_placement", placed)
    folder = copy_of(SPEECH_4)
    text("num_hidden_layers", 64)(folder)
    with pytest.raises(CheckpointError, match="lacks 558 of the model's weights"):
        started(folder)


def test_a_folder_that_holds_another_member_is_refused(
    copy_of: Callable[[str], Path], plan: DevicePlan, facts: TorchFacts
) -> None:
    checkpoint = Checkpoint(path=copy_of(CTC), spec=FAMILY[SPEECH_4], model_id=SPEECH_4)
    with pytest.raises(
        CheckpointError, match=r"holds a granite_speech5_ctc, which granite-speech-4\.1-2b is not"
    ):
        loading.load_checkpoint(checkpoint, plan, facts)

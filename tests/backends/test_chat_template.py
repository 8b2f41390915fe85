"""Prompts out of a frame that was rendered once, against transformers' own rendering of every prompt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError
from transformers import PreTrainedTokenizerFast

from lithophone.backends.transformers_backend import rendering
from lithophone.backends.transformers_backend.chat_template import prompt_frame
from lithophone.backends.transformers_backend.rendering import render
from lithophone.errors import ConfigurationError
from lithophone.granite.family import FAMILY, ModelSpec
from lithophone.granite.prompts import Tags, Task, chat_messages
from tests.shapes import CONTROL_TEMPLATE, USER_TEMPLATE, byte_level

SPEC_3, SPEC_4, PLUS = (
    FAMILY[name] for name in ("granite-speech-3.3-2b", "granite-speech-4.1-2b", "granite-speech-4.1-2b-plus")
)

GRANITE = """{# as the larger templates of the family are written #}
{%- if tools and not available_tools -%}
    {%- set available_tools = tools -%}
{%- endif -%}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Today's Date: " + strftime_now('%B %d, %Y') + "." %}
    {%- if available_tools %}{{ available_tools | tojson(indent=4) }}{%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + eos_token + '\n' }}
{%- for message in loop_messages %}
    {%- if message['role'] not in ['user', 'assistant'] %}{{ raise_exception('no such role') }}{%- endif %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] | trim + eos_token + '\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant<|end_of_role|>' + (prefix_text if prefix_text is defined else '') }}
    {%- endif %}
{%- endfor %}"""
FEATURES = """
{% set ns = namespace(found=0) %}
  {% for m in messages %}
    {% if m.role == 'system' %}{% continue %}{% endif %}
    {% set ns.found = ns.found + 1 %}
  {% generation %}{{ m.content }}{% endgeneration %}
    {% break %}
  {% endfor %}
{{ ns.found }} {{ {'a': 'é<&', 'b': [1, none]} | tojson }} {{ dict(x=1)['x'] }} {{ bos_token }}{{ tools }}
"""

TASKS = [
    (SPEC_3, Task()),
    (SPEC_3, Task(translate_to="fr")),
    (SPEC_4, Task(language="de")),
    (SPEC_4, Task(keywords=("gneiss", "the words of a request", "{{ 7 * 7 }}"))),
    (PLUS, Task(tags=Tags.SPEAKERS, prefix_text="[Speaker 1]: how are you")),
    (PLUS, Task(tags=Tags.WORD_TIMES)),
    (FAMILY["granite-speech-tiny"], Task()),
]


def tokenizer_with(template: str) -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=byte_level(["<|end_of_text|>", "<|audio|>"]),
        eos_token="<|end_of_text|>",
        bos_token="<|end_of_text|>",
        chat_template=template,
    )


def rendered_by_transformers(tokenizer: Any, spec: ModelSpec, task: Task) -> str:
    turns: Any = [msgspec.structs.asdict(message) for message in chat_messages(spec, task)]
    prefix = {"prefix_text": task.prefix_text} if task.prefix_text else {}
    text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **prefix))
    return text if text.endswith(task.prefix_text) else text + task.prefix_text


def framed(tokenizer: Any, spec: ModelSpec, task: Task) -> str:
    return prompt_frame(spec, tokenizer).around(chat_messages(spec, task)[-1].content, task.prefix_text)


@pytest.mark.parametrize("template", [CONTROL_TEMPLATE, USER_TEMPLATE, GRANITE, FEATURES])
@pytest.mark.parametrize(("spec", "task"), TASKS)
def test_a_prompt_is_what_transformers_renders(template: str, spec: ModelSpec, task: Task) -> None:
    tokenizer = tokenizer_with(template)
    assert framed(tokenizer, spec, task) == rendered_by_transformers(tokenizer, spec, task)


@given(
    words=st.lists(st.text(min_size=1, max_size=12).map(str.strip).filter(bool), max_size=3),
    said=st.text(max_size=20),
)
def test_any_words_stand_in_the_frame_as_they_are(words: list[str], said: str) -> None:
    tokenizer = tokenizer_with(GRANITE)
    for spec, task in (
        (SPEC_4, Task(keywords=tuple(words))),
        (PLUS, Task(tags=Tags.SPEAKERS, prefix_text=said)),
    ):
        assert framed(tokenizer, spec, task) == rendered_by_transformers(tokenizer, spec, task)


@pytest.mark.parametrize(
    "template",
    [
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace(a=1) %}{% set ns._b = 2 %}",
        "{{ dict.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
    ],
)
def test_the_sandbox_holds(template: str) -> None:
    with pytest.raises(SecurityError, match=r"unsafe|namespace may not|not safely"):
        render(template, [{"messages": []}])


def test_a_process_that_cannot_run_is_no_fault_of_the_template(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module")
    for file, reason in (
        (tmp_path / "broken.py", "no_such_module"),
        (tmp_path / "gone.py", "can't open file"),
    ):
        monkeypatch.setattr(rendering, "__file__", str(file))
        with pytest.raises(ConfigurationError, match=reason):
            prompt_frame(SPEC_3, tokenizer_with(f"{{# {file} #}}{CONTROL_TEMPLATE}"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(ConfigurationError, match="no process can be started"):
        prompt_frame(SPEC_3, tokenizer_with(f"{{# nothing #}}{CONTROL_TEMPLATE}"))

# pyright: basic, reportMissingImports=false
"""Agents' protocol, spoken by the client of the official SDK; skipped where that is not installed (`make test-mcp`)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters, stdio_client

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
SERVER = StdioServerParameters(
    command=sys.executable, args=["-m", "lithophone", "mcp", "--cpu-threads", "1"], env=dict(os.environ)
)


def test_an_agent_lists_the_models_and_transcribes_a_file() -> None:
    async def ask() -> None:
        async with Client(stdio_client(SERVER)) as agent:
            tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
            assert set(tools) == {"transcribe_file", "list_models"}
            assert set(tools["transcribe_file"].input_schema["properties"]) == {"path", "output_format"}

            heard = await agent.call_tool("transcribe_file", {"path": str(SPEECH / "demo.flac")})
            assert heard.content[0].text.strip() == (SPEECH / "demo.txt").read_text().strip()
            timed = await agent.call_tool(
                "transcribe_file", {"path": str(SPEECH / "demo.flac"), "output_format": "json"}
            )
            assert json.loads(timed.content[0].text)["words"]

            gone = await agent.call_tool("transcribe_file", {"path": "/no/such/file.mp3"})
            assert gone.is_error
            assert "No such file" in gone.content[0].text

            models = (await agent.call_tool("list_models", {})).structured_content["result"]
            assert [model["id"] for model in models if model["answers_now"]] == ["granite-speech-tiny"]

    asyncio.run(ask())

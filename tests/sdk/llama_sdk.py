"""The official Llama API SDK against a running service: sync, async, streaming, tools, JSON schema, errors."""

import asyncio
import json
import os

import llama_api_client
from llama_api_client import AsyncLlamaAPIClient, LlamaAPIClient

BASE = os.environ["FREEHOLD_TEST_URL"] + "/llama/v1"
KEY = os.environ["FREEHOLD_TEST_KEY"]
MODEL = os.environ["FREEHOLD_TEST_MODEL"]
client = LlamaAPIClient(base_url=BASE, api_key=KEY, max_retries=0)
HELLO = [{"role": "user", "content": "Say hello."}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city", "parameters": PARAMETERS}}]


def text_of(message):
    return message.content if isinstance(message.content, str) else message.content.text


def chat():
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=16, temperature=0)
    text = text_of(answer.completion_message)
    assert text and answer.completion_message.stop_reason in ("stop", "length"), answer
    metrics = {metric.metric: metric.value for metric in answer.metrics}
    assert metrics["num_total_tokens"] == metrics["num_prompt_tokens"] + metrics["num_completion_tokens"], metrics
    events = [chunk.event for chunk in client.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=16, temperature=0, stream=True)]
    assert events[0].event_type == "start", events[0]
    assert "".join(event.delta.text for event in events if event.delta.type == "text") == text
    assert any(event.event_type == "complete" and event.stop_reason for event in events)
    named = {metric.metric for metric in events[-1].metrics}
    assert events[-1].event_type == "metrics" and {"num_prompt_tokens", "num_completion_tokens", "num_total_tokens"} <= named, named


async def chat_async():
    async with AsyncLlamaAPIClient(base_url=BASE, api_key=KEY, max_retries=0) as aclient:
        answers = await asyncio.gather(*(aclient.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=8) for _ in range(4)))
        assert all(answer.completion_message for answer in answers)
        stream = await aclient.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=8, stream=True)
        assert [chunk async for chunk in stream]


def tools():
    ask = [{"role": "user", "content": "Weather in Rome?"}]
    answer = client.chat.completions.create(model=MODEL, messages=ask, tools=TOOLS, tool_choice="required", max_completion_tokens=80, temperature=0)
    call = answer.completion_message.tool_calls[0]
    assert answer.completion_message.stop_reason == "tool_calls"
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments), answer
    name, arguments = "", ""
    for chunk in client.chat.completions.create(model=MODEL, messages=ask, tools=TOOLS, tool_choice="required", max_completion_tokens=80, temperature=0, stream=True):
        if chunk.event.delta.type == "tool_call":
            name += chunk.event.delta.function.name or ""
            arguments += chunk.event.delta.function.arguments or ""
    assert name == "get_weather" and "city" in json.loads(arguments), (name, arguments)


def schema():
    response_format = {"type": "json_schema", "json_schema": {"name": "city", "schema": PARAMETERS}}
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, response_format=response_format, max_completion_tokens=60, temperature=0)
    assert "city" in json.loads(text_of(answer.completion_message)), answer


def others():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    try:
        client.moderations.create(messages=HELLO)
        raise AssertionError("there is no guard model")
    except llama_api_client.NotFoundError:
        pass


def errors():
    for kind, call in [
        (llama_api_client.NotFoundError, lambda: client.chat.completions.create(model="nothing", messages=HELLO)),
        (llama_api_client.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=[])),
        (llama_api_client.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=HELLO, temperature=9)),
        (llama_api_client.AuthenticationError, lambda: LlamaAPIClient(base_url=BASE, api_key="fh-wrong", max_retries=0).models.list()),
    ]:
        try:
            call()
        except kind:
            continue
        raise AssertionError(f"{kind} was not raised")


chat()
asyncio.run(chat_async())
tools()
schema()
others()
errors()
print("ok")

"""The official OpenAI SDK against a running service: sync, async, streaming, tools, JSON schema, errors."""

import asyncio
import json
import os

import openai
from pydantic import BaseModel, Field

BASE = os.environ["FREEHOLD_TEST_URL"] + "/v1"
KEY = os.environ["FREEHOLD_TEST_KEY"]
MODEL = os.environ["FREEHOLD_TEST_MODEL"]
client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0)
HELLO = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Say hello."}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"], "additionalProperties": False},
            "strict": True,
        },
    }
]


def chat():
    answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16, temperature=0)
    assert answer.choices[0].message.content, answer
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16, temperature=0, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content, (text, answer)
    assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
    several = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4, n=3, seed=7, logprobs=True, top_logprobs=2)
    assert len(several.choices) == 3
    assert len(several.choices[0].logprobs.content[0].top_logprobs) == 2
    same = [client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=12, seed=42).choices[0].message.content for _ in range(2)]
    assert same[0] == same[1], same
    stopped = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Count: 1 2 3 4"}], max_tokens=40, stop=["."], temperature=0)
    assert "." not in stopped.choices[0].message.content


async def chat_async():
    async with openai.AsyncOpenAI(base_url=BASE, api_key=KEY, max_retries=0) as aclient:
        answers = await asyncio.gather(*(aclient.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8) for _ in range(8)))
        assert all(answer.choices[0].message.content is not None for answer in answers)
        stream = await aclient.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8, stream=True)
        assert [chunk async for chunk in stream]


def tools():
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Weather in Rome?"}], tools=TOOLS, tool_choice="required", max_tokens=80, temperature=0)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and "city" in json.loads(call.function.arguments), answer
    assert answer.choices[0].finish_reason == "tool_calls"
    follow = HELLO + [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    assert client.chat.completions.create(model=MODEL, messages=follow, tools=TOOLS, tool_choice="none", max_tokens=8).choices[0].message.content is not None
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Weather in Rome?"}], tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_weather"}}, max_tokens=80, temperature=0, stream=True
    )
    name, arguments = "", ""
    for chunk in stream:
        for delta in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            name += delta.function.name or ""
            arguments += delta.function.arguments or ""
    assert name == "get_weather" and "city" in json.loads(arguments), (name, arguments)


class City(BaseModel):
    name: str = Field(max_length=20)
    people: int = Field(ge=1, le=99)


def schema():
    answer = client.chat.completions.parse(model=MODEL, messages=[{"role": "user", "content": "Name a city."}], response_format=City, max_tokens=80, temperature=0)
    assert isinstance(answer.choices[0].message.parsed, City), answer
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Some JSON."}], response_format={"type": "json_object"}, max_tokens=200, temperature=0)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


def others():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL
    assert client.completions.create(model=MODEL, prompt="One, two,", max_tokens=4).choices[0].text
    pieces = list(client.completions.create(model=MODEL, prompt="One, two,", max_tokens=4, stream=True))
    assert pieces
    vectors = client.embeddings.create(model=MODEL, input=["a cat", "a dog"])
    assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 100
    assert len(client.embeddings.create(model=MODEL, input="a cat", dimensions=64).data[0].embedding) == 64


def responses():
    answer = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, temperature=0)
    assert answer.output_text and answer.status in ("completed", "incomplete"), answer
    events = list(client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=16, temperature=0, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == answer.output_text
    assert events[0].type == "response.created" and events[-1].type == f"response.{answer.status}", events[-1]
    assert events[-1].response.output_text == answer.output_text
    assert answer.store and client.responses.retrieve(answer.id).output_text == answer.output_text
    assert events[-1].response.store and client.responses.retrieve(events[-1].response.id).output_text == answer.output_text
    [item] = client.responses.input_items.list(answer.id).data
    assert item.role == "user" and item.content[0].text == "Say hello.", item
    follow = client.responses.create(model=MODEL, input=[{"role": "user", "content": f"Again, {n}."} for n in range(5)], previous_response_id=answer.id, max_output_tokens=8, temperature=0)
    assert follow.previous_response_id == answer.id and follow.usage.input_tokens > answer.usage.input_tokens + answer.usage.output_tokens, follow
    listed = [item.content[0].text for item in client.responses.input_items.list(follow.id, limit=2, order="asc")]
    assert listed == [f"Again, {n}." for n in range(5)], listed
    client.responses.delete(answer.id)
    for gone in (lambda: client.responses.retrieve(answer.id), lambda: client.responses.delete(answer.id)):
        try:
            gone()
            raise AssertionError("it is deleted")
        except openai.NotFoundError:
            pass
    for lost in (answer.id, follow.id):
        try:
            client.responses.create(model=MODEL, input="Go on.", previous_response_id=lost)
            raise AssertionError("its conversation is broken")
        except openai.BadRequestError as error:
            assert (error.code, error.param) == ("previous_response_not_found", "previous_response_id"), error
    unstored = client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=4, store=False)
    assert unstored.store is False
    called = client.responses.create(
        model=MODEL, input="Weather in Rome?", tools=[{"type": "function", **TOOLS[0]["function"]}], tool_choice="required", max_output_tokens=80, temperature=0
    )
    assert any(item.type == "function_call" and item.name == "get_weather" for item in called.output), called


def errors():
    def refused(kind, call, code):
        try:
            call()
        except kind as error:
            assert error.code == code, (error.code, code)
            return
        raise AssertionError(f"{code} was not refused")

    ask = client.chat.completions.create
    refused(openai.NotFoundError, lambda: ask(model="nothing", messages=HELLO), "model_not_found")
    refused(openai.BadRequestError, lambda: ask(model=MODEL, messages=[]), "invalid_value")
    refused(openai.BadRequestError, lambda: ask(model=MODEL, messages=HELLO, temperature=9), "invalid_value")
    refused(openai.BadRequestError, lambda: ask(model=MODEL, messages=HELLO, extra_body={"no_such_field": 1}), "unknown_parameter")
    refused(openai.BadRequestError, lambda: ask(model=MODEL, messages=[{"role": "user", "content": "word " * 40000}]), "context_length_exceeded")
    wrong = openai.OpenAI(base_url=BASE, api_key="fh-wrong", max_retries=0)
    refused(openai.AuthenticationError, lambda: wrong.models.list(), "invalid_api_key")


chat()
asyncio.run(chat_async())
tools()
schema()
others()
responses()
errors()
print("ok")

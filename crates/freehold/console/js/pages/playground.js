// The playground: a conversation with a model, its parameters, and the same request as code.

import { all, mayBe, who } from "../api.js";
import { chatSnippets } from "../code.js";
import { open } from "../dialog.js";
import { fill, h, newId } from "../dom.js";
import { count, fixed } from "../format.js";
import { button, card, code, empty, field, head, input, notice, problem, select, tabs } from "../parts.js";
import { prose } from "../prose.js";
import { chat } from "../stream.js";

const PROMPTS = ["Explain in two sentences what a ledger is.", "Write a short poem about the sea.", "Give me five names for a bakery."];

/** A number with a slider; empty means that the model's own default holds. */
function knob(text, name, { min, max, step, value }) {
  const id = newId("knob");
  const slider = input({ type: "range", min, max, step, value, "aria-label": `${text}, slider` });
  const box = input({ type: "number", id, name, min, max, step, value, class: "input", inputmode: "decimal" });
  slider.addEventListener("input", () => {
    box.value = slider.value;
  });
  box.addEventListener("input", () => {
    if (box.value) slider.value = box.value;
  });
  return h("div", { class: "knob" }, h("label", { for: id }, text), slider, box);
}

function parameters(models) {
  const names = models.flatMap((model) => [model.name, ...(model.adapters ?? []).map((adapter) => `${model.name}:${adapter}`)]);
  return h(
    "form",
    { class: "knobs", "aria-label": "Parameters", onsubmit: (event) => event.preventDefault() },
    field("Model", select(names, { name: "model" })),
    field("System prompt", h("textarea", { name: "system", rows: "3", maxlength: "32768", placeholder: "You are a helpful assistant." })),
    knob("Temperature", "temperature", { min: "0", max: "2", step: "0.05", value: "0.7" }),
    knob("Top-p", "top_p", { min: "0.05", max: "1", step: "0.05", value: "1" }),
    knob("Most tokens of the answer", "max_tokens", { min: "16", max: "4096", step: "16", value: "512" }),
    field("Seed", input({ name: "seed", type: "number", step: "1", inputmode: "numeric", placeholder: "random" }), { help: "The same seed gives the same answer." }),
  );
}

/** The request that the parameters and the conversation make. */
function request(fields, turns) {
  const body = { model: fields.model.value, messages: [] };
  const system = fields.system.value.trim();
  if (system) body.messages.push({ role: "system", content: system });
  body.messages.push(...turns.filter((turn) => turn.text).map((turn) => ({ role: turn.role, content: turn.text })));
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    if (fields[name].value !== "") body[name] = Number(fields[name].value);
  }
  return body;
}

const REASONS = { length: "stopped at the most tokens", content_filter: "stopped by a filter", tool_calls: "asks for a tool" };

function facts(outcome) {
  const { usage, first_s: first, speed, total_s: total, reason } = outcome;
  const cached = usage?.prompt_tokens_details?.cached_tokens;
  const items = [
    usage && `${count(usage.prompt_tokens)} tokens in${cached ? `, ${count(cached)} of them cached` : ""}`,
    usage && `${count(usage.completion_tokens)} out`,
    speed !== null && `${fixed(speed, 1)} tokens/s`,
    first !== null && `first token after ${fixed(first, 2)} s`,
    `${fixed(total, 2)} s in all`,
    REASONS[reason],
  ];
  return h("p", { class: "facts" }, items.filter(Boolean).map((text) => h("span", null, text)));
}

function bubble(role) {
  const said = h("div", { class: "said" });
  const foot = h("div");
  return { said, foot, node: h("article", { class: ["turn", role], "aria-label": role === "user" ? "You" : "The model" }, h("p", { class: "who" }, role === "user" ? "You" : "Model"), said, foot) };
}

/** The conversation: its turns, and the answer that is under way. */
class Talk {
  constructor(fields, signal) {
    this.fields = fields;
    this.turns = [];
    this.running = null;
    this.log = h("div", { class: "talk-log", role: "log", "aria-label": "Conversation", tabindex: "0" });
    this.state = h("p", { class: "sr", role: "status" });
    signal.addEventListener("abort", () => this.stop());
    this.clear();
  }

  clear() {
    this.stop();
    this.turns = [];
    const tries = PROMPTS.map((text) => button(text, () => this.onTry(text)));
    fill(this.log, empty("Say something", "The whole conversation is sent with each message. Change the parameters at any time; they hold from the next message.", ...tries));
  }

  stop() {
    this.running?.abort();
  }

  /** The turns up to the last question; null when nothing was asked. */
  asked() {
    const last = this.turns.findLastIndex((turn) => turn.role === "user");
    return last < 0 ? null : this.turns.slice(0, last + 1);
  }

  async say(text) {
    if (this.running) return;
    if (this.turns.length === 0) fill(this.log);
    const mine = bubble("user");
    fill(mine.said, h("p", null, text));
    this.turns.push({ role: "user", text });
    this.log.append(mine.node);
    await this.answer();
  }

  async answer() {
    const body = request(this.fields, this.turns);
    const { said, foot, node } = bubble("assistant");
    said.classList.add("waiting");
    this.log.append(node);
    this.follow(true);
    const turn = { role: "assistant", text: "" };
    this.turns.push(turn);
    this.running = new AbortController();
    let drawing = 0;
    const draw = () => {
      drawing = 0;
      fill(said, prose(turn.text));
      this.follow();
    };
    this.state.textContent = "The model is answering.";
    try {
      const onText = (piece) => {
        said.className = "said growing";
        turn.text += piece;
        drawing ||= requestAnimationFrame(draw);
      };
      const outcome = await chat(body, { signal: this.running.signal, onText });
      fill(foot, facts(outcome));
      this.state.textContent = "The answer is complete.";
    } catch (error) {
      const stopped = error.name === "AbortError";
      fill(foot, stopped ? h("p", { class: "facts" }, "You stopped the answer.") : problem(error));
      this.state.textContent = stopped ? "The answer was stopped." : "The answer failed.";
      // A question without an answer is not sent again with the next one.
      if (!turn.text) this.turns.splice(-2);
    } finally {
      cancelAnimationFrame(drawing);
      draw();
      said.className = "said";
      this.running = null;
      this.follow();
    }
  }

  follow(always = false) {
    const { log } = this;
    if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
  }
}

function viewCode(body) {
  return open("This conversation as code", () => [
    h("p", { class: "muted" }, "The key is read from ", h("code", null, "FREEHOLD_KEY"), "; ", h("a", { href: "/keys" }, "make one"), " if you have none."),
    tabs(chatSnippets(body).map(([name, text]) => [name, () => code(text, name)]), { label: "Language" }),
  ], { broad: true });
}

export async function playground({ signal }) {
  const caller = who();
  if (!caller.tenant) return [head("Playground"), notice("info", "An operator key does not use models", "Create a key of a tenant and sign in with it, or sign in as a member of a tenant.")];
  const may = caller.kind === "key" ? (caller.scopes?.includes("inference") ?? true) : mayBe("developer");
  if (!may) return [head("Playground"), notice("info", caller.kind === "key" ? "This key does not use models" : "Your role does not use models", "Owners and developers do, and keys with the scope inference.")];
  const models = (await all("/models", { signal })).filter((model) => model.chat_template !== false);
  if (models.length === 0) return [head("Playground"), card("Models", {}, empty("There is no model yet", "The operator of this service adds models; then you can talk to them here."))];
  const knobs = parameters(models);
  const talk = new Talk(knobs.elements, signal);
  const text = h("textarea", { class: "input", rows: "2", maxlength: "200000", placeholder: "Write a message", "aria-label": "Message" });
  const send = button("Send", null, { kind: "primary", sign: "send", type: "submit" });
  const stop = button("Stop", () => talk.stop(), { sign: "stop", hidden: true });
  const submit = async (words) => {
    if (!words.trim() || talk.running || !knobs.reportValidity()) return;
    text.value = "";
    send.hidden = true;
    stop.hidden = false;
    try {
      await talk.say(words.trim());
    } finally {
      send.hidden = false;
      stop.hidden = true;
      if (!signal.aborted) text.focus();
    }
  };
  talk.onTry = submit;
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit(text.value);
    }
  });
  const onsubmit = (event) => {
    event.preventDefault();
    submit(text.value);
  };
  const ask = h("form", { class: "ask", onsubmit }, text, h("div", { class: "row apart" }, h("span", { class: "small faint" }, "Enter sends, Shift + Enter makes a line"), h("div", { class: "row" }, stop, send)));
  return [
    head(
      "Playground",
      "Talk to a model with your own parameters. It is metered like any other call.",
      button("View code", () => viewCode({ ...request(knobs.elements, talk.asked() ?? [{ role: "user", text: text.value || PROMPTS[0] }]), stream: true }), { sign: "code" }),
      button("Clear", () => talk.clear(), { kind: "quiet" }),
    ),
    h("div", { class: "playground" }, h("section", { class: "card flush talk", "aria-label": "Conversation" }, talk.log, talk.state, ask), h("section", { class: "card", "aria-label": "Parameters" }, knobs)),
  ];
}

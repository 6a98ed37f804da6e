// Stored responses: what they take of the limit, what is in them, and how to take them away.

import { download, get, remove, send, who } from "../api.js";
import { confirm, open } from "../dialog.js";
import { h } from "../dom.js";
import { ago, bytes, count, moment } from "../format.js";
import { button, card, code, empty, head, linkButton, meter, notice, pages, table } from "../parts.js";

/** Whether the caller may read what is stored: who uses models for the tenant. */
function may() {
  const caller = who();
  if (caller.tenant.role === "key") return caller.scopes?.includes("inference") ?? true;
  return ["owner", "developer"].includes(caller.tenant.role);
}

const of = (response) => `/v1/responses/${encodeURIComponent(response.id)}`;

function text(content) {
  if (!Array.isArray(content)) return String(content ?? "");
  return content.map((part) => part.text ?? part.image_url ?? "").join("\n");
}

/** A turn: who says it, and what. */
function turn(item) {
  if (item.type === "function_call") return ["Calls", `${item.name}(${item.arguments})`];
  if (item.type === "function_call_output") return ["Result", text(item.output)];
  return [item.role === "assistant" ? "Model" : item.role === "user" ? "User" : "Instructions", text(item.content)];
}

async function detail(response) {
  const [whole, items] = await Promise.all([send(of(response)).then((answer) => answer.json()), send(`${of(response)}/input_items?order=asc&limit=100`).then((answer) => answer.json())]);
  const turns = [whole.instructions && ["Instructions", whole.instructions], ...items.data.map(turn), ...whole.output.map(turn)].filter(Boolean);
  const tokens = whole.usage && `${count(whole.usage.input_tokens)} tokens in, ${count(whole.usage.output_tokens)} out. `;
  return open("Stored response", () => [
    h("p", { class: "muted small breaks" }, `${response.id}, ${whole.status}. `, tokens, response.previous && `It goes on from ${response.previous}.`),
    items.has_more && notice("info", null, "Only the first 100 items of its input are shown; the export has them all."),
    turns.map(([name, said]) => h("section", null, h("h3", null, name), h("p", { class: "breaks pre" }, said))),
    h("details", { class: "apart" }, h("summary", null, "As JSON"), code(JSON.stringify(whole, null, 2), "The response as JSON")),
  ], { broad: true });
}

async function take(response, again) {
  const text = "It cannot be read or gone on from any more, and neither can conversations that it is part of. This cannot be undone.";
  if (await confirm("Delete this response?", text, "Delete the response", () => remove(`/responses/${encodeURIComponent(response.id)}`))) await again();
}

function draw(rows, again) {
  const label = (response) => `${response.model}, ${moment(response.created_at)}`;
  return table(
    [
      { title: "Stored", head: true, cell: (response) => h("span", { class: "nowrap", title: response.id }, moment(response.created_at)) },
      { title: "Model", cell: (response) => h("span", { class: "breaks" }, response.model) },
      { title: "Goes on", cell: (response) => (response.previous ? h("span", { title: response.previous }, "yes") : h("span", { class: "faint" }, "no")) },
      { title: "Deleted", cell: (response) => h("span", { class: "nowrap", title: moment(response.expires_at) }, ago(response.expires_at)) },
      { title: "Size", right: true, cell: (response) => h("span", { class: "num nowrap" }, bytes(response.bytes)) },
      {
        title: "",
        right: true,
        cell: (response) =>
          h("div", { class: "actions" }, button("Details", () => detail(response), { kind: "quiet", label: `Details of ${label(response)}` }), button("Delete", () => take(response, again), { kind: "quiet", label: `Delete ${label(response)}` })),
      },
    ],
    rows,
    { label: "Stored responses" },
  );
}

export async function responses({ signal, again }) {
  const title = "Stored responses";
  if (!who().tenant) return [head(title), h("div", { class: "card" }, empty("This is the page of a tenant", "What a tenant has stored is its own; its limit is on its page under Tenants.", linkButton("See the tenants", "/operator/tenants")))];
  if (!may()) return [head(title), h("div", { class: "card" }, empty("You may not read conversations here", "Owners, developers and keys that call models see what is stored.", linkButton("See the limit", "/limits")))];
  const first = await get("/responses?limit=100", { signal });
  const share = first.limit_bytes > 0 ? first.used_bytes / first.limit_bytes : 1;
  const list = await pages(
    (after) => (after ? get(`/responses?limit=100&after=${encodeURIComponent(after)}`, { signal }) : first),
    (rows) => draw(rows, again),
    empty("Nothing is stored", "Answers of /v1/responses are stored unless they are asked for with store: false, so that a conversation can go on from them."),
  );
  const out = () => button("Export all", () => download("/responses/export", "responses.ndjson"), { sign: "down" });
  return [
    head(title, `Answers of the Responses API with what was asked, kept for ${count(first.days)} days. Everybody who calls models for ${who().tenant.name} can read them.`, first.data.length > 0 && out()),
    h(
      "div",
      { class: "stack" },
      card("Used", {}, h("div", { class: "ranks" }, h("div", { class: "rank" }, h("div", { class: "row" }, h("span", null, "Stored"), h("span", { class: "num" }, `${bytes(first.used_bytes)} of ${bytes(first.limit_bytes)}`)), meter(share, `Stored: ${Math.round(share * 100)} percent used`)))),
      card(`Responses of ${who().tenant.name}`, { flush: true }, list),
    ),
  ];
}

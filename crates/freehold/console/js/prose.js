// A model's text as paragraphs and code: fences, inline code and bold, nothing more.

import { h } from "./dom.js";
import { code } from "./parts.js";

function inline(text) {
  const parts = text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/);
  return parts.map((part) => {
    if (part.length > 2 && part.startsWith("`") && part.endsWith("`")) return h("code", null, part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**") && part.endsWith("**")) return h("strong", null, part.slice(2, -2));
    return part;
  });
}

/** The elements of a text; a fence that is still open counts as code. */
export function prose(text) {
  const parts = text.split(/^```/m);
  return parts.flatMap((part, index) => {
    if (index % 2 === 1) {
      const [first, ...lines] = part.split("\n");
      return [code(lines.join("\n").replace(/\n$/, ""), first.trim() || "Code")];
    }
    return part.split(/\n{2,}/).map((block) => block.replace(/^\n+|\n+$/g, "")).filter(Boolean).map((block) => h("p", null, inline(block)));
  });
}

// Dialogs, on the browser's own <dialog>: it keeps the focus inside and gives it back.

import { h, newId } from "./dom.js";
import { button, form } from "./parts.js";

/** Opens a dialog; `make(close)` gives what is in it. Resolves when it is closed, with what it was closed with. */
export function open(title, make, { broad = false } = {}) {
  return new Promise((resolve) => {
    const id = newId("dialog");
    let result;
    const node = h("dialog", { class: broad && "broad", "aria-labelledby": id });
    const close = (value) => {
      result = value;
      node.close();
    };
    node.append(
      h("header", null, h("h2", { id }, title), button("", () => close(), { kind: "quiet icon", sign: "close", label: "Close" })),
      h("div", { class: "inside" }, make(close)),
    );
    const leave = () => node.open && node.close();
    node.addEventListener("close", () => {
      window.removeEventListener("popstate", leave);
      node.remove();
      resolve(result);
    });
    window.addEventListener("popstate", leave);
    document.body.append(node);
    node.showModal();
    node.querySelector(".inside input, .inside textarea, .inside select, .inside button")?.focus();
  });
}

/** Asks before something that cannot be undone; `act` runs inside the dialog, so that its error is shown there. */
export function confirm(title, text, action, act) {
  return open(title, (close) => [
    h("p", { class: "muted" }, text),
    form([], {
      text: action,
      kind: "danger",
      cancel: () => close(false),
      submit: async () => {
        await act();
        close(true);
      },
    }),
  ]);
}

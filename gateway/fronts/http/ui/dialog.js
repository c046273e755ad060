// Questions before something happens that cannot be undone, and the form in which a token is given.

import { element, setText } from "./elements.js";
import { inWords } from "./rpc.js";

/**
 * Asks, and does `act(form)` after a yes. What fails is told in the dialog, which stays open. Resolves to whether it was
 * done.
 */
export function ask({ title, text, fields = [], yes, danger = false, act }) {
  return new Promise((resolve) => {
    const problem = element("p", { class: "problem", role: "alert", hidden: true });
    const submit = element("button", { type: "submit", class: danger ? "danger" : "primary" }, yes);
    const form = element("form", { method: "dialog" },
      element("h2", { id: "question" }, title), element("p", {}, text), ...fields, problem,
      element("div", { class: "buttons" },
        element("button", { type: "button", onclick: () => dialog.close() }, "Back"), submit));
    const dialog = element("dialog", { "aria-labelledby": "question" }, form);
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        await act(new FormData(form));
        done = true;
        dialog.close();
      } catch (error) {
        setText(problem, inWords(error));
        problem.hidden = false;
        submit.disabled = false;
      }
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The form for a token. `onToken` gets what was given. */
export function loginForm(onToken, why) {
  const input = element("input", { type: "password", id: "token", name: "token", autocomplete: "off", required: true, spellcheck: false });
  const form = element("form", { class: "login", onsubmit: (event) => {
    event.preventDefault();
    const given = input.value.trim();
    if (given) onToken(given);
  } },
    element("h1", {}, "A token is needed"),
    element("p", {}, "This gateway asks who looks. The token stays in this tab, and is gone when the tab is closed."),
    why ? element("p", { class: "problem", role: "alert" }, why) : null,
    element("label", { htmlFor: "token" }, "Token"), input,
    element("button", { type: "submit", class: "primary" }, "Log in"));
  return { form, input };
}

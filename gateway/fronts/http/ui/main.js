// The page: which view an address shows, who has logged in, and how the connection is.

import { loginForm } from "./dialog.js";
import { setAttribute, setText } from "./elements.js";
import { OverviewView } from "./overview.js";
import { inWords } from "./rpc.js";
import { RunView } from "./run.js";
import { RunsView } from "./runs.js";
import { keepToken, problemOf, takeTokenFromAddress, token } from "./session.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");
const connectionText = document.getElementById("connection-text");
const logOut = document.getElementById("log-out");

const STATES = {
  connecting: () => "Connecting",
  live: () => "Live",
  ended: () => "Complete",
  waiting: (seconds) => (seconds > 3 ? `Connection lost, trying again in ${Math.round(seconds)} s` : "Connection lost, trying again"),
  failed: (error) => (error.kind === "login" ? "Not logged in" : "Stopped"),
};

// A view that is not shown may go on; how it is then is told when it is shown again.
const tell = (view) => (state, detail) => (view === shown ? showState(state, detail, view) : (view.last = [state, detail]));
const views = {
  runs: new RunsView({ goTo, onState: (...told) => tell(views.runs)(...told) }),
  run: new RunView({ goTo, onState: (...told) => tell(views.run)(...told) }),
  gateway: new OverviewView({ onState: (...told) => tell(views.gateway)(...told) }),
};
let shown = null;
let runsAddress = "#/runs";
let problemOfLink = "";

/** Shows how the stream of a view is. What is the same as before is not told again. */
function showState(state, detail, view) {
  view.last = [state, detail];
  setAttribute(connection, "data-state", state);
  setText(connectionText, STATES[state](detail));
  if (state === "failed" && detail.kind === "login") showLogin(token() ? inWords(detail) : problemOfLink);
}

/** Goes to an address of the page. With `replace`, the button for back does not lead to the one before. */
function goTo(hash, { replace = false } = {}) {
  if (location.hash === hash) return;
  if (replace) {
    history.replaceState(null, "", hash);
    route();
  } else {
    location.hash = hash;
  }
}

function show(view) {
  if (shown === view && view.sight.isConnected) return;
  if (shown && shown !== view) shown.leave?.();
  shown = view;
  main.replaceChildren(view.sight);
  if (view.last) showState(...view.last, view);
}

function route() {
  const problem = takeTokenFromAddress();
  if (problem !== null) {
    restart();
    problemOfLink = problem;
  }
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const asked = new URLSearchParams(query);
  const [name, id] = path.split("/");
  setAttribute(document.getElementById("nav-runs"), "aria-current", name === "gateway" ? null : id ? "true" : "page");
  setAttribute(document.getElementById("nav-gateway"), "aria-current", name === "gateway" ? "page" : null);
  logOut.hidden = !token();
  // Where nothing in a view takes the focus, the keyboard scrolls it as a whole.
  main.tabIndex = name === "gateway" ? 0 : -1;
  if (name === "gateway") {
    document.title = "Gateway";
    show(views.gateway);
    views.gateway.enter();
  } else if (id) {
    const moved = views.run.id !== id || shown !== views.run;
    views.run.backTo = runsAddress;
    show(views.run);
    views.run.enter(id, asked);
    if (moved) views.run.title.focus({ preventScroll: false });
  } else {
    document.title = "Runs";
    runsAddress = location.hash || "#/runs";
    document.getElementById("nav-runs").href = runsAddress;
    const returns = shown === views.run;
    show(views.runs);
    views.runs.enter(asked);
    if (returns) views.runs.table.grid.focus({ preventScroll: true });
  }
}

function showLogin(why) {
  const { form, input } = loginForm((given) => {
    const problem = problemOf(given);
    if (problem) return showLogin(problem);
    keepToken(given);
    restart();
    main.replaceChildren();
    route();
  }, why);
  main.replaceChildren(form);
  logOut.hidden = !token();
  input.focus();
}

/** Begins anew with another token: nothing that the one before had brought is kept. */
function restart() {
  views.runs.stop();
  views.run.leave();
  views.gateway.leave();
  problemOfLink = "";
  for (const view of Object.values(views)) view.last = undefined;
}

logOut.addEventListener("click", () => {
  keepToken("");
  restart();
  showState("connecting", undefined, {});
  main.replaceChildren();
  route();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  const writes = event.target.closest?.("input, select, textarea, dialog");
  if (event.key === "/" && !writes && shown === views.runs && views.runs.sight.isConnected) {
    event.preventDefault();
    views.runs.focusSearch();
  } else if (event.key === "Escape" && !writes && shown === views.run) {
    goTo(runsAddress);
  }
});
route();

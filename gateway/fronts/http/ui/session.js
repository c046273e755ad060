// The token of whoever looks. It is kept for this tab only, and never stays in the address.

const KEY = "runs-gateway-token";

/** As the gateway takes them: as RFC 6750 writes them, of at most so many characters. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;
const MAX_TOKEN = 8_192;

/** `token=` in an address, wherever it stands, with what leads to it and what parts it from the rest. */
const IN_ADDRESS = /(^#\/?|[?&])token(?:=|%3D)([^&?#]*)(&?)/i;

// What can be no token makes no request, not even one that is refused.
if (problemOf(token())) keepToken("");

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function keepToken(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

/** Why a text can be no token, in words; "" if it can be one, and for no text. */
export function problemOf(text) {
  if (!text || (TOKEN.test(text) && text.length <= MAX_TOKEN)) return "";
  const [odd] = /[^A-Za-z0-9\-._~+/=]/u.exec(text) ?? [];
  if (odd !== undefined) return `This is no token: it has ${nameOf(odd)} in it. Was it cut off, or copied with something else?`;
  return text.length > MAX_TOKEN ? "This is no token: it is too long." : "This is no token: it has “=” elsewhere than at its end.";
}

function nameOf(character) {
  if (character === " ") return "a space";
  const code = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(character) ? `“${character}” (${code})` : `the character ${code}`;
}

/**
 * Takes the token out of a link, as `#token=TOKEN&/runs/RUN`: what stands after `&` goes on as the address. A token that
 * stands elsewhere in the address is taken as well, so that it does not stay there. Returns null if there is none, and
 * else why it can be no token, or "".
 */
export function takeTokenFromAddress() {
  const [hash, search] = [takenFrom(location.hash), takenFrom(location.search)];
  const found = hash.found ?? search.found;
  if (found === null) return null;
  history.replaceState(null, "", `${location.pathname}${search.rest}${hash.rest.length > 1 ? hash.rest : "#/runs"}`);
  const given = decoded(found).trim();
  const problem = problemOf(given);
  keepToken(problem ? "" : given);
  return problem;
}

/** The last token in a part of an address, or null, and that part without any. */
function takenFrom(part) {
  let found = null;
  let rest = part;
  for (let match = IN_ADDRESS.exec(rest); match !== null; match = IN_ADDRESS.exec(rest)) {
    const [whole, lead, token, mark] = match;
    const after = rest.slice(match.index + whole.length);
    rest = rest.slice(0, match.index) + (lead.startsWith("#") ? "#" : mark && after ? lead : "") + after;
    found = token;
  }
  return { found, rest };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function headers(more = {}) {
  const given = token();
  return given ? { Authorization: `Bearer ${given}`, ...more } : more;
}

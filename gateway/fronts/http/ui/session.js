// The token of whoever looks. It is kept for this tab only, and never stays in the address.

const KEY = "runs-gateway-token";

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function keepToken(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

/** Takes the token out of a link that ends with `#token=...`; what stands after `&` goes on as the address. */
export function takeTokenFromAddress() {
  const found = /^#token=([^&]*)(?:&(.*))?$/.exec(location.hash);
  if (found === null) return false;
  history.replaceState(null, "", found[2] ? `#${found[2]}` : "#/runs");
  try {
    keepToken(decodeURIComponent(found[1]).trim());
  } catch {
    keepToken("");
  }
  return true;
}

export function headers(more = {}) {
  const given = token();
  return given ? { Authorization: `Bearer ${given}`, ...more } : more;
}

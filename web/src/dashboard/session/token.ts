// The token, for as long as the tab is open: nothing of it stays on the machine.

const KEY = "taskwire.token";

export const keptToken = (): string | null => sessionStorage.getItem(KEY);

export function keepToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
}

/** As pasted: without spaces, and without the word that a header has before it. */
export const cleaned = (text: string): string =>
  text
    .trim()
    .replace(/^Bearer\s+/i, "")
    .replace(/\s+/g, "");

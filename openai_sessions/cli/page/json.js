/** JSON for people: indented, and otherwise as it came. */

const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const LONGEST = 200_000;
const STEP = "  ";

/**
 * Indent a JSON text. Numbers stay as they are written, which parsing them would not grant; what is no JSON,
 * or very long, comes back unchanged.
 */
export function indented(text) {
  if (text.length > LONGEST || parsed(text) === undefined) return text;
  const tokens = text.match(TOKENS);
  let depth = 0;
  let written = "";
  tokens.forEach((token, index) => {
    const empty = "}]".includes(tokens[index + 1]);
    if ("{[".includes(token)) {
      depth += 1;
      written += empty ? token : `${token}\n${STEP.repeat(depth)}`;
    } else if ("}]".includes(token)) {
      depth -= 1;
      written += "{[".includes(tokens[index - 1]) ? token : `\n${STEP.repeat(depth)}${token}`;
    } else if (token === ",") {
      written += `,\n${STEP.repeat(depth)}`;
    } else {
      written += token === ":" ? ": " : readable(token);
    }
  });
  return written;
}

/** Return what a JSON text says; undefined when it is none. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return a string with no more escapes than it needs, anything else as it is. */
function readable(token) {
  return token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token;
}

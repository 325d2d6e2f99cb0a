/** JSON for reading: indented, otherwise unchanged. */

const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const LONGEST = 200_000;
const STEP = "  ";

/**
 * Indent a JSON text. Parsing and serializing would change large numbers, so tokens are copied. Text that is not
 * JSON, or very long, is returned unchanged.
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

/** Return the value of a JSON text; undefined if it is invalid. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return a string token with only the necessary escapes, any other token unchanged. */
function readable(token) {
  return token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token;
}

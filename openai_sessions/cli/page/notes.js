/** Words for what was read beside the items: turns, their usage, compaction, problems. */

import { counted } from "./dom.js";

/** Return the lines above items, in the order in which they are inserted. */
export function lines({ turns, reads_from: readsFrom }) {
  const made = turns.filter(({ number }) => number > 0).map(({ position, number, usage }) => ({
    position,
    kind: "turn",
    words: usage ? `Turn ${number} · ${usageText(usage)}` : `Turn ${number}`,
  }));
  if (readsFrom !== null) {
    const words = "The model reads from here: the compaction item stands for what precedes it";
    made.push({ position: readsFrom, kind: "compacted", words });
  }
  return made;
}

/** Return the remarks in entries. */
export function remarks({ problems }) {
  return problems.map(({ position, problem, remedy }) => ({
    position,
    words: `${problem}: openai-sessions repair ${remedy === "close" ? "closes" : "removes"} it`,
  }));
}

/** Return a usage in one line. */
export function usageText(usage) {
  const cache = [[usage.cached_tokens, "cached"], [usage.cache_write_tokens, "written to the cache"]];
  const input = detailed(usage.input_tokens, "input", cache);
  const output = detailed(usage.output_tokens, "output", [[usage.reasoning_tokens, "reasoning"]]);
  const used = `${counted(usage.requests, "request")}, ${input}, ${output}`;
  return usage.cost ? `${used}, ${usage.cost}` : used;
}

function detailed(number, kind, parts) {
  const known = parts.filter(([part]) => part).map(([part, name]) => `${part.toLocaleString("en")} ${name}`);
  const inside = known.length ? ` (${known.join(", ")})` : "";
  return `${counted(number, `${kind} token`)}${inside}`;
}

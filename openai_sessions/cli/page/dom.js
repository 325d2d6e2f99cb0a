/**
 * Create an element. Strings among the children become text, never markup.
 * @param {string} name
 * @param {Object<string, string>} [attributes]
 * @param {...(Node|string)} children
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

/** Return the element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return "1 item", "2 items". */
export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Return the parts with a dot between them. */
export function joined(parts) {
  return parts.flatMap((part, index) => (index ? [" · ", part] : [part]));
}

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const SECOND = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Return a `time` element for Unix seconds; today without the date. */
export function moment(seconds, { exact = false } = {}) {
  const date = new Date(seconds * 1000);
  const clock = (exact ? SECOND : MINUTE).format(date);
  const shown = DAY.format(date) === DAY.format(new Date()) ? clock : `${DAY.format(date)}, ${clock}`;
  return element("time", { datetime: date.toISOString() }, shown);
}

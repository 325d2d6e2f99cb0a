/** Poll the server for changes, and show them. */

import { chosenId, fragmentOf, markChosen, showConversations } from "./conversations.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { addRequests, clearRequests, showRequests } from "./requests.js";
import { KeyNeeded, conversations, hasKey, requests, state, useKey } from "./server.js";

const CALM_MS = 1000;
const BUSY_MS = 250;
const MORE = 200;
const WIDE = matchMedia("(min-width: 50rem)");

let seen = { server: null, contents: null, requests: 0 };
let limit = MORE;
let listed = [];
let shown = null;
let isPoked = false;
let wake = () => {};

async function watch() {
  for (;;) {
    if (document.hidden) await changed();
    let wait = CALM_MS;
    try {
      if (await refresh()) wait = BUSY_MS;
      tell("live");
    } catch (error) {
      if (error instanceof KeyNeeded) {
        askForKey();
        await changed();
      } else {
        tell(error instanceof TypeError ? "disconnected, retrying" : error.message);
      }
    }
    await Promise.race([changed(), new Promise((resolve) => setTimeout(resolve, wait))]);
  }
}

/** Resolve when the user has done something, or returned to the page, since the last call. */
async function changed() {
  if (!isPoked) await new Promise((resolve) => (wake = resolve));
  isPoked = false;
}

function poke() {
  isPoked = true;
  wake();
}

async function refresh() {
  const now = await state();
  byId("key-form").hidden = true;
  byId("columns").hidden = false;
  if (now.server !== seen.server) forget();
  const isNew = now.contents !== seen.contents || now.requests !== seen.requests;
  if (now.requests !== null && now.requests !== seen.requests) {
    addRequests((await requests(seen.requests)).requests, { count: now.requests });
  }
  showRequests(now.requests !== null);
  if (now.contents !== seen.contents || !listed.asked) await list();
  await showChosen(now.contents !== seen.contents);
  seen = now;
  return isNew;
}

function forget() {
  seen = { server: null, contents: null, requests: 0 };
  shown = null;
  clearRequests();
}

async function list() {
  const answer = await conversations(limit);
  listed = Object.assign(answer.conversations, { asked: limit });
  showConversations(listed, answer);
}

async function showChosen(isChanged) {
  if (chosenId() === null && listed.length && WIDE.matches) {
    history.replaceState(null, "", fragmentOf(listed[0].id));
  }
  const id = chosenId();
  document.body.classList.toggle("choosing", id === null);
  markChosen(id);
  if (id === null) {
    shown = null;
    welcome();
    return;
  }
  const isOther = shown?.id !== id;
  if (isOther) {
    shown = new Conversation(id);
    shown.show();
    scrollTo(0, 0);
  }
  const conversation = listed.find((each) => each.id === id);
  if (conversation) shown.describe(conversation);
  document.title = conversation?.title ?? "Conversations";
  if (isOther || isChanged || !shown.isLoaded) await shown.refresh(() => chosenId() === id);
}

function welcome() {
  document.title = "Conversations";
  if (listed.length) {
    byId("main").replaceChildren();
    return;
  }
  if (byId("main").querySelector(".welcome")) return;
  const made = byId("welcome").content.cloneNode(true);
  made.querySelector("code").textContent =
    `export OPENAI_BASE_URL=${location.origin}/v1\nexport OPENAI_API_KEY=anything`;
  byId("main").replaceChildren(made);
}

function tell(connection) {
  const place = byId("connection");
  if (place.textContent !== connection) place.textContent = connection;
  place.classList.toggle("live", connection === "live");
}

function askForKey() {
  byId("columns").hidden = true;
  byId("key-form").hidden = false;
  byId("key-error").textContent = hasKey() ? "The server rejected this key." : "";
  tell("waiting for a key");
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  byId("key").value = "";
  poke();
});
byId("older").addEventListener("click", () => {
  limit += MORE;
  listed.asked = 0;
  poke();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment names the conversation that is shown
  byId("main").focus();
});
addEventListener("hashchange", poke);
document.addEventListener("visibilitychange", poke);

watch();

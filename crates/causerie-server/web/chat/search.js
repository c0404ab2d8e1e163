// Finding messages: search in the room that is shown, and the way to a message, also one that is not loaded yet.

import { h, timeElement } from "../lib/element.js";
import { short, words } from "../lib/text.js";
import { keyOf } from "../log/timeline.js";
import { page, pane } from "../page.js";
import { on, state } from "../state.js";
import { search } from "../wire/connection.js";
import { written } from "./lines.js";
import { list } from "./log.js";

/** Messages of a page that is read on the way to one further up. */
const STRIDE = 1_000;
/** Characters that are shown of what was found. */
const SHORT = 120;

/** The number of ways that were taken: a later one ends the one before. */
let turn = 0;

/** Shows a message. @param {string} id @param {number} [position] */
export async function goTo(id, position) {
	const room = state.current;
	if (!room) return;
	turn += 1;
	const mine = turn;
	const { timeline } = room;
	while (!timeline.fold.byId.has(id) && timeline.from > 1 && (position === undefined || position < timeline.from)) {
		page.beginning.textContent = "Going back to it…";
		if (!(await room.readOlder(STRIDE)) || room !== state.current || mine !== turn) return;
	}
	const shown = timeline.fold.shownAs(id);
	const index = timeline.lines.findIndex((entry) => keyOf(entry) === shown);
	if (index < 0) return;
	list.setKeys(timeline.keys);
	const element = list.reveal(index);
	element?.focus({ preventScroll: true });
	element?.classList.add("found");
	pane("chat");
}

page.searchForm.addEventListener("submit", async (event) => {
	event.preventDefault();
	const room = state.current;
	if (!room) return;
	try {
		const { messages: found, complete } = await search(room.name, page.searchWords.value);
		if (room !== state.current) return;
		const items = found.flatMap((record) => {
			const { fold } = room.timeline;
			const shown = fold.shownAs(record.id);
			// What is at hand is known as it is today; the rest as the server has it.
			const text = fold.byId.has(shown) ? fold.view(shown).text : record.text ?? null;
			if (text === null) return [];
			return [h("li", {}, h("button", { type: "button", click: () => void goTo(record.id, record.position) },
				h("bdi", { class: "author" }, record.author), " ", written(short(text, SHORT)), " ", timeElement(record.time)))];
		});
		page.hits.replaceChildren(...(items.length > 0 ? items : [h("li", {}, "Nothing found.")]));
		if (complete === false) page.hits.append(h("li", { class: "hint" }, "The server makes its index anew: what is older is found later."));
	} catch (error) {
		page.hits.replaceChildren(h("li", { class: "problem" }, words(error)));
	}
});

on("room", () => page.hits.replaceChildren());

// The messages of the room that is shown: the list of lines, what stands below it, where the news begins, and moving about in it.

import { h } from "../lib/element.js";
import { words } from "../lib/text.js";
import { firstOf, isSaid } from "../log/timeline.js";
import { page, paints, show } from "../page.js";
import { choose, emit, hover, on, state } from "../state.js";
import { composer } from "./composer.js";
import { heldLine, line, outgoing, refused } from "./lines.js";
import { VirtualList } from "./list.js";

/** @typedef {import("../log/room.js").Room} Room */
/** @typedef {import("../wire/connection.js").Entry} Entry */

/** Messages that are held and told below the chat, at most. */
const HELD_SHOWN = 5;
/** Messages that are announced, at most, to those who listen. */
const ANNOUNCED = 20;
/** Lines that are looked at anew, at most, when an earlier page has come. */
const REFRESHED = 400;

/** The news that its reader found: the position behind which it begins, its size, and whether it was seen. */
const news = { behind: /** @type {number | null} */ (null), count: 0, seen: true };
/** True when the reader is at the end, and looks. */
let reading = false;

export const list = new VirtualList({
	scroller: page.scroller,
	content: page.lines,
	render: (index) => {
		const act = (/** @type {import("../state.js").Action} */ action, /** @type {string} */ id, /** @type {string | undefined} */ detail) => emit("act", action, id, detail);
		const element = line(/** @type {Room} */ (state.current), index, act, news.behind);
		emit("rendered", element);
		return element;
	},
	onTop: () => void readOlder(),
});

function showLines() {
	const room = state.current;
	if (!room) return;
	const { timeline } = room;
	const held = [...room.held].slice(0, HELD_SHOWN).map(([id, { waitsFor }]) => heldLine(room, id, waitsFor));
	const unsaid = room.memory.refused.map((said) => refused(room, said, (which, mend) => {
		room.session.dismiss(which.id);
		if (mend) composer.mend(which);
	}));
	page.outbox.replaceChildren(...held, ...unsaid, ...room.outbox.map((said) => outgoing(room, said)));
	list.setKeys(timeline.keys);
	// A feed without articles is none.
	page.lines.setAttribute("role", timeline.lines.length > 0 ? "feed" : "group");
	page.beginning.textContent = !room.opened ? "" : timeline.from > 1 ? "Reading what was said before…" : "The beginning of this room.";
	page.topic.textContent = room.topic;
	const looks = list.atEnd && !document.hidden && document.hasFocus();
	// Whoever comes back finds where the news begins; for who reads along nothing is new.
	if (looks && !reading && room.unread > 0) markNews(room);
	reading = looks;
	if (looks) room.markRead();
	const { unread } = room;
	page.toEnd.hidden = list.atEnd;
	page.toEnd.textContent = unread > 0 ? `${unread} new ↓` : "Newest ↓";
	showNews();
}

/** Offers the way to where the news begins, as long as that is further up and was not seen. */
function showNews() {
	const index = newsIndex();
	const room = state.current;
	if (index < 0 || !room || list.heights.count === 0) {
		page.toNews.hidden = true;
		return;
	}
	const isWhole = room.timeline.from <= (news.behind ?? 0) + 1;
	const above = list.heights.top(Math.min(index, list.heights.count)) < page.scroller.scrollTop;
	if (!above && isWhole) news.seen = true;
	page.toNews.hidden = news.seen || !above;
	page.toNews.textContent = `↑ ${news.count}${isWhole ? "" : "+"} new`;
}

/** Returns the line with which the news begins; the first, if it is further up; -1 if there is none. */
function newsIndex() {
	const { behind } = news;
	if (behind === null || !state.current) return -1;
	const { lines } = state.current.timeline;
	let [low, high] = [0, lines.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (firstOf(lines[middle]) > behind) high = middle;
		else low = middle + 1;
	}
	return low < lines.length ? low : -1;
}

/** Notes where the news begins. @param {Room} room */
export function markNews(room) {
	const { unread } = room;
	Object.assign(news, { behind: unread > 0 ? room.memory.read ?? null : null, count: unread, seen: unread === 0 });
	list.refresh(list.elements.keys());
}

async function readOlder() {
	const room = state.current;
	if (!room || room.timeline.from <= 1 || room.loadingOlder) return;
	page.lines.setAttribute("aria-busy", "true");
	try {
		await room.readOlder();
	} catch (error) {
		page.beginning.textContent = `What was said before cannot be read: ${words(error)}`;
	} finally {
		page.lines.setAttribute("aria-busy", "false");
	}
}

/** Shows anew what was changed by others that have come. @param {Entry[]} added */
function refresh(added) {
	const room = state.current;
	if (!room) return;
	const keys = new Set();
	for (const entry of added) {
		if (entry.kind === "gap") continue;
		keys.add(room.timeline.fold.shownAs(entry.id));
		// Whoever quotes it says what it says now.
		if (entry.kind === "edit" || entry.kind === "delete") for (const key of list.elements.keys()) keys.add(key);
	}
	list.refresh(keys);
}

/** Says what is new to those who listen. @param {Entry[]} added */
function announce(added) {
	const room = state.current;
	if (!room || room.session.state !== "live" || added.length > ANNOUNCED) return;
	for (const entry of added) {
		if (entry.kind === "gap" || entry.member === room.me || entry.kind === "reaction") continue;
		const told = room.words(entry.id);
		page.announcer.append(h("p", { "data-id": entry.id }, isSaid(entry) && entry.kind !== "action" ? `${entry.author}: ${told}` : told));
	}
	while (page.announcer.childElementCount > ANNOUNCED) page.announcer.firstElementChild?.remove();
}

/** Takes away what was announced and reads otherwise now. @param {Set<string>} reworded */
function unsay(reworded) {
	for (const told of [...page.announcer.children]) if (told instanceof HTMLElement && reworded.has(told.dataset.id ?? "")) told.remove();
}

paints("lines", showLines);

on("room", (room) => {
	list.elements.forEach((element) => element.remove());
	list.elements.clear();
	list.heights.reset();
	list.atEnd = true;
	list.setKeys(room.timeline.keys);
	markNews(room);
	reading = false;
	show("lines");
});
on("lines", ({ added, reworded }) => {
	announce(added);
	unsay(reworded);
	refresh(added);
	show("lines");
});
on("older", () => {
	const { timeline } = /** @type {Room} */ (state.current);
	// At once: until the list knows of them it would take one line for another.
	list.setKeys(timeline.keys);
	refresh(timeline.lines.slice(0, REFRESHED));
	show("lines");
});
on("reset", () => {
	list.heights.reset();
	list.setKeys(/** @type {Room} */ (state.current).timeline.keys);
	show("lines");
});
on("state", () => {
	list.refresh(list.elements.keys());
	show("lines");
});
on("held", () => show("lines"));
on("outbox", () => show("lines"));
on("refused", () => show("lines"));
on("said", () => {
	list.atEnd = true;
});

// --- moving about -----------------------------------------------------------------------------------------------

page.toEnd.addEventListener("click", () => {
	list.toEnd();
	state.current?.markRead();
	show("lines");
});
page.scroller.addEventListener("scroll", () => {
	if (page.toEnd.hidden !== list.atEnd || !news.seen) show("lines");
}, { passive: true });

page.toNews.addEventListener("click", async () => {
	const room = state.current;
	const { behind } = news;
	if (!room || behind === null) return;
	while (room.timeline.from > behind + 1) {
		page.beginning.textContent = "Going back to it…";
		if (!(await room.readOlder(1000)) || room !== state.current) break;
	}
	if (room !== state.current) return;
	list.setKeys(room.timeline.keys);
	list.reveal(newsIndex())?.focus({ preventScroll: true });
	news.seen = true;
	show("lines");
});

page.lines.addEventListener("keydown", (event) => {
	const element = event.target instanceof Element ? event.target.closest("[data-index]") : null;
	if (!(element instanceof HTMLElement) || !state.current) return;
	const index = Number(element.dataset.index);
	const { id } = element.dataset;
	const last = state.current.timeline.lines.length - 1;
	const to = { ArrowUp: index - 1, ArrowDown: index + 1, Home: 0, End: last }[event.key];
	if (to !== undefined && event.target === element) {
		event.preventDefault();
		const next = list.reveal(Math.max(0, Math.min(last, to)));
		next?.focus({ preventScroll: true });
		next?.scrollIntoView({ block: "nearest" });
		return;
	}
	const buttons = [...element.querySelectorAll("button")];
	const at = buttons.findIndex((button) => button === document.activeElement);
	if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
		event.preventDefault();
		const next = at + (event.key === "ArrowRight" ? 1 : -1);
		(buttons[next] ?? element).focus();
	} else if (event.key === "Escape") {
		composer.text.focus();
	} else if (event.target === element && id) {
		const action = { r: "reply", e: "edit", "+": "react", Delete: "delete", i: "inspect", Enter: "inspect" }[event.key];
		if (action && (action === "inspect" || element.querySelector(`[data-action="${action}"]`))) {
			event.preventDefault();
			emit("act", /** @type {import("../state.js").Action} */ (action), id, undefined);
		}
	}
});

page.scroller.addEventListener("keydown", (event) => {
	if (event.target !== page.scroller || !state.current || !["ArrowUp", "ArrowDown", "End", "Home"].includes(event.key)) return;
	event.preventDefault();
	const { lines } = state.current.timeline;
	if (lines.length === 0) return;
	list.reveal(event.key === "Home" ? 0 : lines.length - 1)?.focus({ preventScroll: true });
});

/** Returns the message of the line in which something happens. @param {Event} event */
function idAt(event) {
	const element = event.target instanceof Element ? event.target.closest("[data-index]") : null;
	return element instanceof HTMLElement ? element.dataset.id ?? null : null;
}

page.lines.addEventListener("pointerover", (event) => hover(idAt(event)));
page.lines.addEventListener("pointerleave", () => hover(null));
page.lines.addEventListener("focusin", (event) => hover(idAt(event)));
page.lines.addEventListener("focusout", () => hover(null));
page.lines.addEventListener("click", (event) => {
	const id = idAt(event);
	if (!id || (event.target instanceof Element && event.target.closest("button, a"))) return;
	const both = event.shiftKey || event.ctrlKey || event.metaKey;
	// Whoever marks words wants to copy them.
	if (both || !getSelection()?.toString()) choose(id, both);
});
// With Shift a second message is chosen, and not the words in between.
page.lines.addEventListener("mousedown", (event) => {
	if (event.shiftKey) event.preventDefault();
});

// How lines of the chat look. Whatever others have written is text here, and nothing else.

import { h, timeElement } from "../lib/element.js";
import { badge, lookOf } from "../lib/shapes.js";
import { short, splitAtMentions } from "../lib/text.js";
import { firstOf, isSaid } from "../log/timeline.js";

/** @typedef {import("../wire/connection.js").Entry} Entry */
/** @typedef {import("../log/room.js").Room} Room */
/** @typedef {import("../state.js").Action} Action */
/** @typedef {(action: Action, id: string, detail?: string) => void} Act */

export const SYMBOLS = ["👍", "❤️", "😄", "🎉", "🤔", "👀", "✅", "👎"];

/**
 * Returns an element for what somebody has written, which keeps its direction to itself: where it runs from right to left, and
 * where it turns around what follows and does not turn it back.
 * @param {(Node | string)[]} children
 */
export const written = (...children) => h("span", { class: "written", dir: "auto" }, ...children);

/**
 * Returns words with their links, and with who is called: only what begins with http:// or https:// is a link.
 * @param {string} text
 * @param {string} [name] our own
 * @returns {(Node | string)[]}
 */
function linked(text, name) {
	return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/u).flatMap((part, i) =>
		i % 2 === 1 ? [h("a", { href: part, rel: "noopener noreferrer nofollow", target: "_blank" }, part)]
			: splitAtMentions(part, name).map((words, j) => (j % 2 === 1 ? h("mark", {}, words) : words)));
}

/**
 * Returns author and words, as they are now, of a message that another answers.
 * @param {Room} room
 * @param {string} id
 */
export function quoted(room, id) {
	const { id: shown, author, text, deleted } = room.timeline.fold.quote(id);
	if (author === null) return { author: room.nameOf(id.split("#")[0]), text: `message ${id}, further up` };
	return { author, text: deleted ? "deleted" : short(text || room.record(shown)?.kind || "") };
}

/** Returns whether the news begins with this line. @param {Entry} entry @param {Entry | undefined} before @param {number | null} read the last position that was read */
const beginsNews = (entry, before, read) =>
	read !== null && firstOf(entry) > read && (before === undefined ? firstOf(entry) === read + 1 : firstOf(before) <= read);

/**
 * @param {Room} room
 * @param {number} index
 * @param {Act} act
 * @param {number | null} [read] the last position that was read before we came
 */
export function line(room, index, act, read = null) {
	const { lines } = room.timeline;
	const entry = lines[index];
	const before = lines[index - 1];
	const element = entry.kind === "gap" ? gap(entry) : isSaid(entry) ? message(room, entry, before, act) : notice(room, entry);
	if (entry.kind !== "gap") element.dataset.id = entry.id;
	if (beginsNews(entry, before, read)) {
		element.classList.add("news");
		element.prepend(h("span", { class: "new" }, "new"));
	}
	element.setAttribute("role", "article");
	element.tabIndex = -1;
	return element;
}

/** @param {import("../wire/connection.js").Gap} entry */
function gap({ from, to, why }) {
	const count = to - from + 1;
	const what = count === 1 ? "1 entry" : `${count} entries`;
	const words = why === "removed" ? `${what} not kept any more` : `${what} cannot be read: damaged`;
	return h("div", { class: "notice gap", "aria-label": words }, words);
}

/**
 * @param {Room} room
 * @param {import("../wire/connection.js").LogRecord} record
 */
function notice(room, record) {
	const [words, text] = noticed(record, room.timeline.fold.view(record.id).text);
	return h("div", { class: `notice hue-${lookOf(record.member).hue}`, "aria-label": `${record.author} ${words}${text}` },
		badge(record.member, 12), h("span", { class: "line" }, h("bdi", {}, record.author), ` ${words}`, text && written(text)), timeElement(record.time));
}

/**
 * Returns words for an event of the room, and those that somebody has given with it.
 * @param {import("../wire/connection.js").LogRecord} record
 * @param {string | null} text as it reads today
 * @returns {[string, string]}
 */
function noticed({ kind, reason }, text) {
	switch (kind) {
		case "joined": return ["joined", ""];
		case "left": return reason ? ["left: ", reason] : ["left", ""];
		case "topic": return text === null ? ["set a topic, since deleted", ""] : text ? ["set the topic: ", text] : ["removed the topic", ""];
		default: return ["said something that this page does not know", ""];
	}
}

/**
 * @param {Room} room
 * @param {import("../wire/connection.js").LogRecord} record
 * @param {Entry | undefined} before
 * @param {Act} act
 */
function message(room, record, before, act) {
	const view = room.timeline.fold.view(record.id);
	const mine = record.member === room.me;
	// A message right behind another of the same author needs no second head.
	const follows = before !== undefined && before.kind !== "gap" && before.kind !== "action" && isSaid(before)
		&& before.member === record.member && record.kind === "text" && firstOf(before) === record.position - 1;
	const text = view.text === null ? h("p", { class: "text deleted" }, "deleted", ...(view.reason ? [": ", h("bdi", {}, view.reason)] : []))
		: h("p", { class: record.kind === "action" ? "text action" : "text", dir: "auto" },
			...(record.kind === "action" ? [h("bdi", {}, record.author), " "] : []), h("span", { class: "written" }, ...linked(view.text, mine ? undefined : room.memory.name)),
			view.edited && h("span", { class: "edited", title: "the author has changed this" }, " (edited)"));
	const reactions = view.reactions.map(({ symbol, by }) => {
		const own = by.some(({ member }) => member === room.me);
		const names = by.map(({ author }) => author).join(", ");
		return h("button", {
			type: "button", class: "reaction", "aria-pressed": String(own), tabindex: -1, title: names, "data-action": `react ${symbol}`,
			"aria-label": `${symbol} by ${names}`, click: () => act("react", record.id, symbol),
		}, h("bdi", {}, symbol), h("span", {}, String(by.length)));
	});
	const button = (/** @type {Action} */ action, /** @type {string} */ label, /** @type {string} */ sign) =>
		h("button", {
			type: "button", tabindex: -1, title: label, "aria-label": label, "data-action": action,
			click: () => act(action, record.id),
		}, sign);
	const joined = room.me !== undefined && room.session.state !== "idle";
	const { hue } = lookOf(record.member);
	const reply = record.kind === "reply" && record.to ? quoted(room, record.to) : null;
	return h("div", {
		class: `message hue-${hue}${mine ? " mine" : ""}${follows ? " follows" : ""}${room.mentions.has(record.id) ? " calls" : ""}`,
		"aria-label": `${record.author}: ${view.text ?? "deleted"}`,
	},
	!follows && h("div", { class: "head" }, badge(record.member), h("bdi", { class: "author" }, record.author), timeElement(record.time)),
	reply && h("button", { type: "button", class: "quote", tabindex: -1, "data-action": "go", click: () => act("go", record.to ?? "") },
		h("bdi", { class: "author" }, reply.author), " ", written(reply.text)),
	text,
	reactions.length > 0 && h("div", { class: "reactions" }, ...reactions),
	h("div", { class: "actions", role: "toolbar", "aria-label": "This message" },
		joined && !view.deleted && button("reply", "Reply", "↩"),
		joined && !view.deleted && button("react", "React", "☺"),
		joined && mine && !view.deleted && button("edit", "Edit", "✎"),
		joined && mine && !view.deleted && button("delete", "Delete", "✕"),
		button("inspect", "What happened before it, and after", "◈")));
}

/**
 * Returns a line for a message that the server holds back until what its author had seen is there.
 * @param {Room} room
 * @param {string} id
 * @param {string} waitsFor
 */
export function heldLine(room, id, waitsFor) {
	const [[author], [other, seq]] = [id.split("#"), waitsFor.split("#")];
	return h("div", { class: `waits hue-${lookOf(author).hue}`, role: "listitem" }, badge(author, 12),
		" ", h("bdi", {}, room.nameOf(author)), " has said something; it is held until ", h("bdi", {}, room.nameOf(other)), `’s message ${seq} is here`);
}

/**
 * Returns words for something that is on its way, of whatever kind.
 * @param {import("../lib/memory.js").Outgoing} said
 * @param {string} name
 */
function outgoingWords({ kind, text = "", set, symbol }, name) {
	switch (kind) {
		case "edit": return `changes a message: ${text}`;
		case "delete": return "deletes a message";
		case "reaction": return `${set ? "" : "takes back "}${symbol}`;
		case "topic": return `topic: ${text}`;
		case "action": return `${name} ${text}`;
		default: return text;
	}
}

/**
 * Returns a line for an own message that is on its way.
 * @param {Room} room
 * @param {import("../lib/memory.js").Outgoing} said
 */
export function outgoing(room, said) {
	const state = room.session.state === "live" ? "on its way" : "waits for the connection";
	return h("div", { class: "message outgoing", role: "listitem" },
		h("p", { class: "text", dir: "auto" }, written(outgoingWords(said, room.session.name))), h("span", { class: "way" }, state));
}

/**
 * Returns a line for an own message that was refused.
 * @param {Room} room
 * @param {import("../lib/memory.js").Outgoing & {why: string}} said
 * @param {(said: import("../lib/memory.js").Outgoing, mend: boolean) => void} then
 */
export function refused(room, said, then) {
	const button = (/** @type {string} */ words, /** @type {boolean} */ mend) => h("button", { type: "button", click: () => then(said, mend) }, words);
	return h("div", { class: "message outgoing refused", role: "listitem" },
		h("p", { class: "text", dir: "auto" }, written(short(outgoingWords(said, room.session.name), 400))), h("span", { class: "way" }, `not said: ${said.why}`),
		said.text !== undefined && button("Mend", true), button("Drop", false));
}

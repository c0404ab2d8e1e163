// How lines of the chat look. Whatever others have written is text here, and nothing else.

import { badge, lookOf } from "./diagram.js";
import { h, timeElement } from "./element.js";
import { firstOf, isSaid } from "./timeline.js";

/** @typedef {import("./timeline.js").Entry} Entry */
/** @typedef {import("./room.js").Room} Room */
/** @typedef {"reply" | "react" | "edit" | "delete" | "inspect" | "go"} Action */
/** @typedef {(action: Action, id: string, detail?: string) => void} Act */

export const SYMBOLS = ["👍", "❤️", "😄", "🎉", "🤔", "👀", "✅", "👎"];

/**
 * Words with their links: only what begins with http:// or https:// is one.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
function linked(text) {
	return text.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]])/u).map((part, i) =>
		i % 2 === 1 ? h("a", { href: part, rel: "noopener noreferrer nofollow", target: "_blank" }, part) : part);
}

/** In one line. @param {string} text @param {number} [most] */
export function short(text, most = 90) {
	const line = text.replace(/\s+/gu, " ").trim();
	return [...line].length > most ? `${[...line].slice(0, most - 1).join("")}…` : line;
}

/**
 * What a message that is referred to says now.
 * @param {Room} room
 * @param {string} id
 */
export function quoted(room, id) {
	const shown = room.timeline.shownAs(id);
	const record = room.timeline.byId.get(shown);
	if (!record) return { author: room.nameOf(id.split("#")[0]), text: `message ${id}, further up` };
	const { text } = room.timeline.view(shown);
	return { author: record.author, text: text === null ? "deleted" : short(text || record.kind) };
}

/**
 * @param {Room} room
 * @param {number} index
 * @param {Act} act
 * @param {string | null} [lastRead] the message behind which the news begins
 */
export function line(room, index, act, lastRead = null) {
	const { lines } = room.timeline;
	const entry = lines[index];
	const before = lines[index - 1];
	const element = entry.kind === "gap" ? gap(entry) : isSaid(entry) ? message(room, entry, before, act) : notice(entry);
	if (entry.kind !== "gap") element.dataset.id = entry.id;
	if (before && before.kind !== "gap" && before.id === lastRead) element.classList.add("news");
	element.setAttribute("role", "article");
	element.tabIndex = -1;
	return element;
}

/** @param {import("./timeline.js").Gap} entry */
function gap({ from, to, why }) {
	const count = to - from + 1;
	const what = count === 1 ? "1 entry" : `${count} entries`;
	const words = why === "removed" ? `${what} not kept any more` : `${what} cannot be read: damaged`;
	return h("div", { class: "notice gap", "aria-label": words }, words);
}

/** @param {import("./timeline.js").LogRecord} record */
function notice(record) {
	/** @type {{[kind: string]: string}} */
	const notices = {
		joined: `${record.author} joined`,
		left: `${record.author} left${record.reason ? `: ${record.reason}` : ""}`,
		topic: record.text ? `${record.author} set the topic: ${record.text}` : `${record.author} removed the topic`,
	};
	const words = notices[record.kind] ?? `${record.author} said something that this page does not know`;
	return h("div", { class: `notice hue-${lookOf(record.member).hue}`, "aria-label": words },
		badge(record.member, 12), h("span", {}, words), timeElement(record.time));
}

/**
 * @param {Room} room
 * @param {import("./timeline.js").LogRecord} record
 * @param {Entry | undefined} before
 * @param {Act} act
 */
function message(room, record, before, act) {
	const view = room.timeline.view(record.id);
	const mine = record.member === room.me;
	// A message right behind another of the same author needs no second head.
	const follows = before !== undefined && before.kind !== "gap" && before.kind !== "action" && isSaid(before)
		&& before.member === record.member && record.kind === "text" && firstOf(before) === record.position - 1;
	const text = view.text === null ? h("p", { class: "text deleted" }, "deleted")
		: h("p", { class: record.kind === "action" ? "text action" : "text" },
			...(record.kind === "action" ? [`${record.author} `] : []), ...linked(view.text),
			view.edited && h("span", { class: "edited", title: "the author has changed this" }, " (edited)"));
	const reactions = view.reactions.map(({ symbol, by }) => {
		const own = by.some(({ member }) => member === room.me);
		const names = by.map(({ author }) => author).join(", ");
		return h("button", {
			type: "button", class: "reaction", "aria-pressed": String(own), tabindex: -1, title: names, "data-action": `react ${symbol}`,
			"aria-label": `${symbol} by ${names}`, click: () => act("react", record.id, symbol),
		}, symbol, h("span", {}, String(by.length)));
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
		class: `message hue-${hue}${mine ? " mine" : ""}${follows ? " follows" : ""}`,
		"aria-label": `${record.author}: ${view.text ?? "deleted"}`,
	},
	!follows && h("div", { class: "head" }, badge(record.member), h("span", { class: "author" }, record.author), timeElement(record.time)),
	reply && h("button", { type: "button", class: "quote", tabindex: -1, "data-action": "go", click: () => act("go", record.to ?? "") },
		h("span", { class: "author" }, reply.author), " ", reply.text),
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
 * What the server has received, and does not show before what its author had seen.
 * @param {Room} room
 * @param {string} id
 * @param {string} waitsFor
 */
export function heldLine(room, id, waitsFor) {
	const [[author], [other, seq]] = [id.split("#"), waitsFor.split("#")];
	return h("div", { class: `waits hue-${lookOf(author).hue}`, role: "listitem" }, badge(author, 12),
		` ${room.nameOf(author)} has said something; it is held until ${room.nameOf(other)}’s message ${seq} is here`);
}

/**
 * Something of one's own that is on its way.
 * @param {Room} room
 * @param {import("./connection.js").Outgoing} said
 */
export function outgoing(room, said) {
	/** @type {{[kind: string]: string}} */
	const others = {
		edit: `changes a message: ${said.text}`,
		delete: "deletes a message",
		reaction: `${said.set ? "" : "takes back "}${said.symbol}`,
		topic: `topic: ${said.text}`,
		action: `${room.session.name} ${said.text}`,
	};
	const words = others[said.kind] ?? said.text ?? "";
	const state = room.session.state === "live" ? "on its way" : "waits for the connection";
	return h("div", { class: "message outgoing", role: "listitem" },
		h("p", { class: "text" }, words), h("span", { class: "way" }, state));
}

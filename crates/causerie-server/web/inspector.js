// Why a message stands where it stands: its stamp, its whole vector, the delivery rule number by number; and of two
// messages, which came before the other.

import { badge, lookOf } from "./diagram.js";
import { h } from "./element.js";
import { short } from "./chat.js";
import { wordsOf } from "./room.js";

/** @typedef {import("./run.js").Shown} Shown */
/** @typedef {import("./causality.js").Count} Count */

/** @param {Count} count */
const number = ({ count, exact }) => (exact ? String(count) : `≥ ${count}`);

/** A message by its author's name. @param {Shown} room @param {string} id */
const called = (room, id) => `${room.nameOf(id.split("#")[0])}#${id.split("#")[1]}`;

/**
 * @param {Shown} room
 * @param {string} id
 * @param {(id: string) => void} choose
 */
function chip(room, id, choose) {
	const [member] = id.split("#");
	return h("button", { type: "button", class: `chip hue-${lookOf(member).hue}`, click: () => choose(id), title: room.nameOf(member) },
		badge(member, 12), called(room, id));
}

/**
 * @param {Shown} room
 * @param {string} id
 * @param {(id: string) => void} choose
 * @returns {Node[]}
 */
export function inspect(room, id, choose) {
	const record = room.timeline.byId.get(id);
	if (!record) return heldNow(room, id, choose);
	const { deps } = record;
	const [author, seq] = id.split("#");
	const own = Number(seq) > 1 ? [`${author}#${Number(seq) - 1}`] : [];
	const past = room.history.past(id).size;
	const future = room.history.future(id).size;
	const others = room.history.size - past - future - 1;
	return [
		h("h3", {}, chip(room, id, choose), h("span", { class: "words" }, short(room.words?.(id) ?? wordsOf(record), 70))),
		h("p", {}, h("strong", {}, "Stamp: "), `number ${seq} of ${room.nameOf(author)}`,
			deps.length + own.length > 0 ? ", right after " : ", after nothing"),
		h("div", { class: "chips" }, ...[...own, ...deps].map((cause) => chip(room, cause, choose))),
		h("p", { class: "counts" }, `${past} before it, ${future} after it, ${others} concurrent`,
			room.history.fromStart ? "." : " of those that are loaded."),
		...heldAt(room, id),
		...rule(room, id),
	];
}

/**
 * Where members say to have held it.
 * @param {Shown} room
 * @param {string} id
 */
function heldAt(room, id) {
	return (room.heldAt?.get(id) ?? []).map(({ at, waitsFor, ms }) => h("p", { class: "fails" },
		`Held at ${room.nameOf(at)}${ms === null ? "" : ` for ${ms} ms`}: it arrived there before ${called(room, waitsFor)}.`));
}

/**
 * @param {Shown} room
 * @param {string} id
 * @param {(id: string) => void} choose
 */
function heldNow(room, id, choose) {
	const held = room.held.get(id);
	const heading = h("h3", {}, chip(room, id, choose));
	if (!held) return [heading, h("p", {}, "This message is not loaded: it stands further up.")];
	const [member, seq] = held.waitsFor.split("#");
	const clock = held.clock.get(member) ?? { count: 0, exact: room.history.fromStart };
	return [
		heading,
		h("p", { class: "fails" }, `Received, and held since ${new Date(held.since).toLocaleTimeString()}: it waits for `, chip(room, held.waitsFor, choose), "."),
		h("p", {}, `Delivered of ${room.nameOf(member)}: ${number(clock)}. Needed: ${seq}. What else it depends on is known when it is shown.`),
	];
}

/**
 * The delivery rule, as it was when the message arrived.
 * @param {Shown} room
 * @param {string} id
 */
function rule(room, id) {
	const held = room.wasHeld.get(id);
	const arrival = held ?? room.arrived?.get(id);
	const conditions = room.history.conditions(id, arrival?.clock);
	// With the departed of a long day a table would be endless; what fails is always shown.
	const rows = conditions.map(({ member, rule: which, stamp, clock, holds }) =>
		h("tr", { class: holds ? "" : "fails" },
			h("th", { scope: "row" }, badge(member, 12), room.nameOf(member)),
			h("td", {}, number(clock)),
			h("td", {}, number(stamp)),
			h("td", {}, which === 1 ? `${number(stamp)} = ${number(clock)} + 1` : `${number(stamp)} ≤ ${number(clock)}`),
			h("td", {}, holds ? "✓" : "✗ not yet")));
	const failing = conditions.filter(({ holds }) => !holds);
	const verdict = held
		? `It was received early and held: ${failing.length || 1} condition${failing.length > 1 ? "s" : ""} failed. It waited for ${called(room, held.waitsFor)}.`
		: "All conditions held when its turn came: delivered.";
	return [
		h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Delivery rule" }, h("table", { class: "rule" },
			h("caption", {}, "The delivery rule (Birman, Schiper, Stephenson) at ", arrival?.at ? room.nameOf(arrival.at) : "the server"),
			h("thead", {}, h("tr", {}, ...["member", held ? "delivered on arrival" : "delivered before it", "its vector", "condition", ""].map((title) => h("th", { scope: "col" }, title)))),
			h("tbody", {}, ...rows))),
		h("p", { class: held ? "fails" : "holds" }, verdict),
	];
}

/**
 * @param {Shown} room
 * @param {string} a
 * @param {string} b
 * @param {(id: string) => void} choose
 * @returns {Node[]}
 */
export function compare(room, a, b, choose) {
	const { history } = room;
	if (!history.get(a) || !history.get(b)) return [h("p", {}, "One of these is not placed yet, or not loaded.")];
	const relation = history.relation(a, b);
	const name = (/** @type {string} */ id) => room.nameOf(id.split("#")[0]);
	if (relation === "concurrent") {
		const knows = (/** @type {string} */ later, /** @type {string} */ earlier) => {
			const [author, seq] = earlier.split("#");
			const known = history.vector(later).get(author) ?? { count: 0, exact: history.fromStart };
			return h("li", {}, `${name(later)} had delivered ${known.exact ? known.count : `fewer than ${seq}`} of ${name(earlier)}’s messages; this is number ${seq}.`);
		};
		return [
			h("h3", {}, chip(room, a, choose), h("strong", { class: "relation" }, "concurrent with"), chip(room, b, choose)),
			h("p", {}, "Neither author had seen the other’s message:"),
			h("ul", {}, knows(a, b), knows(b, a)),
			h("p", { class: "counts" }, "The order on the screen is the server’s; another order would be as good."),
		];
	}
	const [first, last] = relation === "before" ? [a, b] : [b, a];
	const path = history.path(first, last);
	const steps = path.slice(1).map((id, i) => {
		const same = id.split("#")[0] === path[i].split("#")[0];
		return h("li", {}, chip(room, path[i], choose), same ? " then the same author said " : ` was delivered to ${name(id)}, who then said `, chip(room, id, choose));
	});
	return [
		h("h3", {}, chip(room, a, choose), h("strong", { class: "relation" }, `is ${relation}`), chip(room, b, choose)),
		h("p", {}, steps.length === 1 ? "Directly:" : `By a chain of ${steps.length} steps:`),
		h("ol", {}, ...steps),
	];
}

/**
 * The picture as a table, for those who do not see it.
 * @param {Shown} room
 * @param {import("./diagram.js").PlacedEvent[]} events
 * @param {(id: string) => void} choose
 */
export function table(room, events, choose) {
	const rows = events.map((event) => {
		const [author] = event.id.split("#");
		const held = room.wasHeld.get(event.id);
		const what = event.kind === "send" ? (held ? `said; was held, waited for ${called(room, held.waitsFor)}` : "said")
			: event.kind === "hold" ? `held: waits for ${called(room, event.waitsFor ?? "")}` : event.kind === "drop" ? "given up" : "delivered";
		const at = event.observed ? `, at ${room.nameOf(event.at)}` : "";
		return h("tr", {},
			h("th", { scope: "row" }, h("button", { type: "button", class: "link", click: () => choose(event.id) }, event.id)),
			h("td", {}, room.nameOf(author)), h("td", {}, what + at), h("td", {}, event.label ? short(event.label, 60) : ""),
			h("td", {}, (event.causes ?? []).join(", ")));
	});
	return h("table", {}, h("caption", {}, "Events, the newest last"),
		h("thead", {}, h("tr", {}, ...["message", "member", "event", "words", "right after"].map((title) => h("th", { scope: "col" }, title)))),
		h("tbody", {}, ...rows));
}


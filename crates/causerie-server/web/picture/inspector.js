// Why a message stands where it stands: its stamp, its whole vector, and at a member the delivery rule number by number; and
// of two messages, which came causally before the other.

import { h } from "../lib/element.js";
import { badge, lookOf } from "../lib/shapes.js";
import { short } from "../lib/text.js";
import { wordsOf } from "../log/room.js";

/** @typedef {import("../log/causality.js").Count} Count */

/** @typedef {import("../log/causality.js").Reception} Reception */

/**
 * Something that the inspector looks at: a room, or a run.
 * @typedef {object} Shown
 * @property {(id: string) => import("../wire/connection.js").LogRecord | undefined} record of a message that is at hand
 * @property {import("../log/causality.js").History} history
 * @property {(member: string) => string} nameOf
 * @property {(member: string) => string} placeOf where a member delivers, in words
 * @property {() => string[]} everybody who is in
 * @property {(id: string) => string} [words] a message's, where they change
 * @property {(id: string) => Reception[]} receptions where it was received, as far as that is known; first where its rule is
 *   told if nobody says where
 */

/**
 * A message as it fared at a member.
 * @typedef {object} Choice
 * @property {string} id
 * @property {string | null} at null: wherever it is known
 */

/** @typedef {(id: string, at?: string) => void} Choose */

/** @param {Count} count */
const number = ({ count, exact }) => (exact ? String(count) : `≥ ${count}`);

/** Returns a message by its author's name. @param {Shown} room @param {string} id */
const called = (room, id) => `${room.nameOf(id.split("#")[0])}#${id.split("#")[1]}`;

/**
 * @param {Shown} room
 * @param {string} id
 * @param {Choose} choose
 */
function chip(room, id, choose) {
	const [member] = id.split("#");
	return h("button", { type: "button", class: `chip hue-${lookOf(member).hue}`, click: () => choose(id), title: room.nameOf(member) },
		badge(member, 12), called(room, id));
}

/**
 * @param {Shown} room
 * @param {Choice} choice
 * @param {Choose} choose
 * @returns {Node[]}
 */
export function inspect(room, { id, at }, choose) {
	const record = room.record(id);
	const receptions = room.receptions(id);
	if (!record) return notPlaced(room, id, receptions[0], choose);
	const { deps } = record;
	const [author, seq] = id.split("#");
	const own = Number(seq) > 1 ? [`${author}#${Number(seq) - 1}`] : [];
	const past = room.history.past(id).size;
	const future = room.history.future(id).size;
	const others = room.history.size - past - future - 1;
	const here = receptions.find((reception) => reception.at === at)
		// The author delivers it without asking; a room's server is asked where the author is chosen.
		?? receptions.find((reception) => reception.at.endsWith(".0"));
	const elsewhere = receptions.filter((reception) => reception !== here);
	return [
		h("h3", {}, chip(room, id, choose), h("span", { class: "words" }, short(room.words?.(id) ?? wordsOf(record), 70))),
		...(here ? rule(room, id, here) : [h("p", { class: "holds" }, `Sent by ${room.nameOf(author)}, and delivered there at once.`)]),
		...(elsewhere.length === 0 ? [] : [h("p", {}, h("strong", {}, here ? "Elsewhere:" : "Received:")),
			h("div", { class: "chips" }, ...elsewhere.map((reception) => place(room, id, reception, choose)))]),
		h("p", {}, h("strong", {}, "Stamp: "), `number ${seq} of ${room.nameOf(author)}`,
			deps.length + own.length > 0 ? ", directly after " : ", after nothing"),
		h("div", { class: "chips" }, ...[...own, ...deps].map((cause) => chip(room, cause, choose))),
		h("p", { class: "counts" }, `${past} causally before it, ${future} causally after it, ${others} concurrent`,
			room.history.fromStart ? "." : " of those that are loaded."),
	];
}

/**
 * Returns a reception at another member, and the way there.
 * @param {Shown} room
 * @param {string} id
 * @param {Reception} reception
 * @param {Choose} choose
 */
function place(room, id, { at, how, ms }, choose) {
	const words = how !== "held" ? "delivered" : ms === null || ms === undefined ? "held" : `held ${ms} ms`;
	return h("button", { type: "button", class: `chip hue-${lookOf(at).hue}${how === "held" ? " fails" : ""}`, click: () => choose(id, at) },
		badge(at, 12), `at ${room.placeOf(at)}: ${words}`);
}

/**
 * @param {Shown} room
 * @param {string} id
 * @param {Reception | undefined} held
 * @param {Choose} choose
 */
function notPlaced(room, id, held, choose) {
	const heading = h("h3", {}, chip(room, id, choose));
	if (!held?.waitsFor) return [heading, h("p", {}, "This message is not loaded: it stands further up.")];
	const [member, seq] = held.waitsFor.split("#");
	const clock = held.clock?.get(member) ?? { count: 0, exact: room.history.fromStart };
	return [
		heading,
		h("p", { class: "fails" }, `Received at ${room.placeOf(held.at)}, and held back: it waits for `, chip(room, held.waitsFor, choose), "."),
		h("p", {}, `Delivered of ${room.nameOf(member)}: ${number(clock)}. Needed: ${seq}. What else it depends on is known when it is delivered.`),
	];
}

/**
 * Returns the delivery rule, as it was when the message was received there.
 * @param {Shown} room
 * @param {string} id
 * @param {Reception} reception
 */
function rule(room, id, { at, how, clock, waitsFor, ms }) {
	const where = room.placeOf(at);
	// With the departed of a long day a table would be endless; those who are in, and what the vector has, are shown.
	const conditions = clock ? room.history.conditions(id, clock, room.everybody()) : [];
	const rows = conditions.map(({ member, rule: which, stamp, clock: had, holds }) =>
		h("tr", { class: holds ? "" : "fails" },
			h("th", { scope: "row" }, badge(member, 12), room.nameOf(member)),
			h("td", {}, number(stamp)),
			h("td", {}, number(had)),
			h("td", {}, which === 1 ? `${number(stamp)} = ${number(had)} + 1` : `${number(stamp)} ≤ ${number(had)}`),
			h("td", {}, holds ? "✓" : h("span", {}, "✗", h("span", { class: "unseen" }, " not yet")))));
	const failing = conditions.filter(({ holds }) => !holds);
	const failed = clock ? `: ${failing.length || 1} condition${failing.length > 1 ? "s" : ""} failed` : "";
	const cause = waitsFor === undefined ? "" : called(room, waitsFor);
	const verdict = {
		held: ms === null || ms === undefined
			? `At ${where} it was received early and held${failed}. It waited for ${cause}.`
			: `At ${where} it was received early and held for ${ms} ms${failed}. It waited for ${cause}.`,
		delivered: `At ${where} all conditions held when its turn came: delivered.`,
		shown: failing.length > 0
			? `At ${where} ${failing.length} condition${failing.length > 1 ? "s" : ""} failed, and it was delivered all the same: before ${cause}, which its author had delivered.`
			: `At ${where} it was delivered when it was received; its causes happened to be there.`,
	}[how];
	const table = h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Delivery rule" }, h("table", { class: "rule" },
		h("caption", {}, `The delivery rule (Birman, Schiper, Stephenson) at ${where}, when it was received`),
		h("thead", {}, h("tr", {}, ...["member", "its vector", "delivered there", "condition", ""].map((title) => h("th", { scope: "col" }, title)))),
		h("tbody", {}, ...rows)));
	return [
		h("p", { class: how === "held" || failing.length > 0 ? "fails" : "holds" }, verdict),
		clock ? table : h("p", {}, `What had been delivered at ${where} then is not told.`),
	];
}

/**
 * @param {Shown} room
 * @param {string} a
 * @param {string} b
 * @param {Choose} choose
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
			h("p", {}, "Neither author had delivered the other’s message:"),
			h("ul", {}, knows(a, b), knows(b, a)),
			h("p", { class: "counts" }, "The order in which they are shown is one of two that are both causal."),
		];
	}
	const [first, last] = relation === "before" ? [a, b] : [b, a];
	const path = history.path(first, last);
	const steps = path.slice(1).map((id, i) => {
		const same = id.split("#")[0] === path[i].split("#")[0];
		return h("li", {}, chip(room, path[i], choose), same ? " then the same author sent " : ` was delivered to ${name(id)}, who then sent `, chip(room, id, choose));
	});
	return [
		h("h3", {}, chip(room, a, choose), h("strong", { class: "relation" }, `is causally ${relation}`), chip(room, b, choose)),
		h("p", {}, steps.length === 1 ? "Directly:" : `By a chain of ${steps.length} steps:`),
		h("ol", {}, ...steps),
	];
}

/**
 * Returns the picture as a table, for those who do not see it.
 * @param {Shown} room
 * @param {import("./diagram.js").PlacedEvent[]} events
 * @param {Choose} choose
 */
export function table(room, events, choose) {
	const rows = events.map((event) => {
		const [author] = event.id.split("#");
		const what = event.kind === "send"
			? (event.quiet ? event.label ?? "" : "sent")
			: event.kind === "hold" ? `held: waits for ${called(room, event.waitsFor ?? "")}`
				: event.kind === "drop" ? "given up" : event.heldMs === undefined ? "delivered" : `delivered after ${event.heldMs} ms`;
		const at = event.kind === "send" ? "" : `, at ${room.placeOf(event.at)}`;
		return h("tr", {},
			h("th", { scope: "row" }, h("button", { type: "button", class: "link", click: () => choose(event.id, event.at) }, called(room, event.id))),
			h("td", {}, room.nameOf(author)), h("td", {}, what + at), h("td", {}, event.label ? short(event.label, 60) : ""),
			h("td", {}, (event.causes ?? []).map((cause) => called(room, cause)).join(", ")));
	});
	return h("table", {}, h("caption", {}, "Events, the newest last"),
		h("thead", {}, h("tr", {}, ...["message", "sender", "event", "words", "directly after"].map((title) => h("th", { scope: "col" }, title)))),
		h("tbody", {}, ...rows));
}

// Past and future of the message that is pointed at, or chosen: lit in the chat and in the picture alike.

import { list } from "./chat/log.js";
import { page } from "./page.js";
import { diagram } from "./picture/pane.js";
import { state } from "./state.js";

/** @typedef {import("./picture/diagram.js").Cones} Cones */

/** @type {Cones | null} */
let lit = null;
let scheduled = false;

/** Returns whether anything is lit. */
export const isLit = () => lit !== null;

/**
 * Returns the first in the log of the messages that are in the document, and of this one.
 * @param {string} id
 */
function lowestInSight(id) {
	let lowest = id;
	const order = (/** @type {string} */ at) => state.current?.history.get(at)?.order ?? Number.POSITIVE_INFINITY;
	for (const at of [...list.elements.keys(), ...diagram.visible().map((event) => event.id)]) if (order(at) < order(lowest)) lowest = at;
	return lowest;
}

/** Returns the cones of the message that is pointed at, or chosen. @returns {Cones | null} */
function cones() {
	const { current, hovered, selected } = state;
	const focus = hovered ?? (selected.length === 1 ? selected[0] : null);
	if (!focus || !current?.history.get(focus)) return null;
	const { history } = current;
	return { focus: new Set([focus]), past: history.past(focus, lowestInSight(focus)), future: history.future(focus) };
}

/** Marks a line by where it stands to what is lit. @param {HTMLElement} element */
export function mark(element) {
	const { current, selected } = state;
	const { id } = element.dataset;
	const focus = lit && current ? [...lit.focus].map((at) => current.timeline.fold.shownAs(at)) : [];
	const cone = !lit || !id ? "" : focus.includes(id) ? "focus" : lit.past.has(id) ? "past" : lit.future.has(id) ? "future" : "concurrent";
	if (element.dataset.cone !== cone) element.dataset.cone = cone;
	element.classList.toggle("selected", id !== undefined && selected.includes(id));
}

/** Lights the cones of the message that is pointed at, or chosen. */
export function light() {
	lit = cones();
	diagram.setCones(lit);
	page.lines.classList.toggle("hovered", lit !== null && state.hovered !== null);
	for (const element of list.elements.values()) mark(element);
}

/** Lights anew when the browser shows its next picture. */
export function relight() {
	if (scheduled) return;
	scheduled = true;
	requestAnimationFrame(() => {
		scheduled = false;
		light();
	});
}

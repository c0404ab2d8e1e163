// Doing something with a message: reply, edit, react, delete, look at what happened before it.

import { h } from "../lib/element.js";
import { symbolKey } from "../lib/text.js";
import { page, pane, showPicture } from "../page.js";
import { choose, emit, state } from "../state.js";
import { composer } from "./composer.js";
import { SYMBOLS } from "./lines.js";
import { list } from "./log.js";

/**
 * Does something with a message.
 * @param {import("../state.js").Action} action
 * @param {string} id
 * @param {string} [detail] the symbol of a reaction
 */
export function act(action, id, detail) {
	const room = state.current;
	if (!room) return;
	switch (action) {
		case "reply": composer.write({ reply: id }); break;
		case "edit": composer.write({ edit: id }, room.timeline.fold.view(id).text ?? ""); break;
		case "delete":
			if (confirm("Delete this message for everybody?")) room.session.say({ kind: "delete", of: id });
			break;
		case "react": {
			if (detail === undefined) {
				pick(id);
				break;
			}
			const own = room.timeline.fold.view(id).reactions.some(({ symbol, by }) => symbolKey(symbol) === symbolKey(detail) && by.some(({ member }) => member === room.me));
			room.session.say({ kind: "reaction", to: id, symbol: detail, set: !own });
			break;
		}
		case "inspect":
			choose(id, false);
			showPicture(true);
			pane("picture");
			break;
		case "go": emit("go", id, undefined); break;
	}
}

/** Offers symbols for a reaction. @param {string} id */
function pick(id) {
	const element = list.elements.get(id);
	if (!element) return;
	const done = () => {
		page.picker.hidden = true;
		list.elements.get(id)?.focus({ preventScroll: true });
	};
	page.picker.replaceChildren(...SYMBOLS.map((symbol) =>
		h("button", { type: "button", "aria-label": `React with ${symbol}`, click: () => {
			act("react", id, symbol);
			done();
		} }, symbol)));
	page.picker.hidden = false;
	const { top, left } = element.getBoundingClientRect();
	page.picker.style.top = `${Math.max(8, top - page.picker.offsetHeight)}px`;
	page.picker.style.left = `${left + 16}px`;
	const buttons = [...page.picker.querySelectorAll("button")];
	buttons[0].focus();
	page.picker.onkeydown = ({ key }) => {
		const at = buttons.findIndex((button) => button === document.activeElement);
		if (key === "Escape") done();
		if (key === "ArrowRight") buttons[(at + 1) % buttons.length].focus();
		if (key === "ArrowLeft") buttons[(at + buttons.length - 1) % buttons.length].focus();
	};
}

document.addEventListener("pointerdown", (event) => {
	if (event.target instanceof Node && !page.picker.contains(event.target)) page.picker.hidden = true;
});

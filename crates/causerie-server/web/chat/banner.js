// The line above the messages that tells what is the matter with the room, and what can be done about it.

import { h } from "../lib/element.js";
import { words } from "../lib/text.js";
import { page } from "../page.js";

/**
 * Shows a text with buttons; nothing, if it is empty.
 * @param {string} text
 * @param {{[button: string]: () => unknown}} [actions]
 */
export function banner(text, actions = {}) {
	page.banner.hidden = text === "";
	page.banner.replaceChildren(text, " ", ...Object.entries(actions).map(([button, then]) =>
		h("button", { type: "button", click: async () => {
			try {
				await then();
			} catch (error) {
				page.banner.prepend(`${words(error)}. `);
			}
		} }, button)));
}

// Telling outside the page who has called its reader.

import { askPermission, permission, tell } from "../lib/notify.js";
import { short } from "../lib/text.js";
import { page } from "../page.js";
import { state } from "../state.js";
import { go } from "./entrance.js";

/** @typedef {import("../log/room.js").Room} Room */

/** The time, in milliseconds, within which what is read is not told outside the page. */
const READ_WITHIN = 500;
/** Characters of a message that are told. */
const TOLD = 200;

/** Tells who has called, unless it has been read before long: here, or in another page. @param {Room} room @param {import("../wire/connection.js").Entry[]} added */
export function notify(room, added) {
	if (room.session.state !== "live" || !room.session.leading || permission() !== "granted") return;
	for (const entry of added) {
		if (entry.kind === "gap" || !room.mentions.has(entry.id)) continue;
		setTimeout(() => {
			if ((room.memory.read ?? 0) >= entry.position || !room.mentions.has(entry.id)) return;
			tell({ title: `${entry.author} · ${room.name}`, body: short(room.words(entry.id), TOLD), tag: `${room.name} ${entry.id}` }, () => go(room.name));
		}, READ_WITHIN);
	}
}

/** Offers to tell calls to whoever is in a room and was not asked yet. */
export function offer() {
	page.notify.hidden = permission() !== "default" || ![...state.rooms.values()].some((room) => room.memory.joined);
}

page.notify.addEventListener("click", async () => {
	await askPermission();
	offer();
});

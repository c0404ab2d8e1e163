// What this browser remembers, and forgets with its site data: the name, the rooms, what was typed and not sent.

/** @typedef {import("./room.js").Memory} Memory */

const KEY = "causerie";

/** @returns {{name: string, rooms: {[name: string]: Memory}, last?: string}} */
function read() {
	try {
		const { name, rooms, last } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
		return { name: typeof name === "string" ? name : "", rooms: rooms instanceof Object ? rooms : {}, last };
	} catch {
		// Nothing, or something that is not ours, or no storage at all: begin anew.
		return { name: "", rooms: {} };
	}
}

export const memory = read();

/** Another page of this browser may have written meanwhile: of each room, this one knows better what it is in. */
export function save() {
	try {
		const others = read().rooms;
		localStorage.setItem(KEY, JSON.stringify({ ...memory, rooms: { ...others, ...memory.rooms } }));
	} catch {
		// Full, or not allowed: then it lasts as long as the page.
	}
}

/** @param {string} room @returns {Memory} */
export function recall(room) {
	// Only what this page looks at is its to write.
	const known = memory.rooms[room];
	const fresh = { ...known, outbox: Array.isArray(known?.outbox) ? known.outbox : [] };
	memory.rooms[room] = fresh;
	return fresh;
}

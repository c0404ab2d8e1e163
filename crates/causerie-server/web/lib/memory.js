// What this browser remembers, and forgets with its site data: the name, the rooms, what was typed and not sent. Several
// pages of one browser write it: each writes only what it has changed itself, and takes over what others have.

/**
 * Something to say: fields as in the API, without the id.
 * @typedef {{kind: string, text?: string, to?: string, of?: string, symbol?: string, set?: boolean}} Body
 */
/** @typedef {Body & {id: string}} Outgoing */

/**
 * Membership of a room, remembered also when the page is closed.
 * @typedef {object} Membership
 * @property {string} [token]
 * @property {string} [member]
 * @property {string} [nonce] of a join that was not answered yet
 * @property {string} [epoch]
 * @property {Outgoing[]} outbox messages that were said and are not placed yet, in order
 * @property {(Outgoing & {why: string})[]} refused what the server has refused for good, until it is mended or given up
 */

/**
 * Memory of a room: the membership, and what its reader has left.
 * @typedef {Membership & {read?: number, draft?: string, joined?: boolean, name?: string, key?: string}} Memory `key`: of a room that was made here
 */
/** @typedef {{name: string, rooms: Map<string, Memory>, last?: string, picture?: boolean}} All `picture`: whether it is open */
/** @typedef {{[field: string]: any}} Fields */

const KEY = "causerie";
/** Fields that are lists of what has an id: pages add to them and take from them, each its own. */
const LISTS = ["outbox", "refused"];
/** Fields that a page keeps as it has them: its own text, and lists that it is told of by another way (`sharing.js`). */
const OWN = ["draft", ...LISTS];

/** @returns {All} */
function read() {
	try {
		const { name, rooms, last, picture } = JSON.parse(localStorage.getItem(KEY) ?? "{}");
		// A room may be called as anything is that objects have anyway.
		const known = rooms instanceof Object ? Object.entries(rooms).filter(([, room]) => room instanceof Object) : [];
		return { name: typeof name === "string" ? name : "", rooms: new Map(known), last, picture };
	} catch {
		// Nothing, or something that is not ours, or no storage at all: begin anew.
		return { name: "", rooms: new Map() };
	}
}

export const memory = read();

/** The fields of each room as they were written or read last. @type {Map<string, Map<string, string>>} */
const written = new Map();
/** @param {Fields} fields */
const frozen = (fields) => new Map(Object.entries(fields).flatMap(([field, value]) => (value === undefined ? [] : [[field, JSON.stringify(value)]])));
for (const [room, fields] of memory.rooms) written.set(room, frozen(fields));
let others = { name: memory.name, last: memory.last, picture: memory.picture };

/**
 * Returns a list with what was changed here and by others.
 * @param {{id: string}[]} before
 * @param {{id: string}[]} mine
 * @param {{id: string}[]} theirs
 */
function merged(before, mine, theirs) {
	const ids = (/** @type {{id: string}[]} */ list) => new Set(list.map(({ id }) => id));
	const [was, have, has] = [ids(before), ids(mine), ids(theirs)];
	return [...theirs.filter(({ id }) => have.has(id) || !was.has(id)), ...mine.filter(({ id }) => !was.has(id) && !has.has(id))];
}

/** Writes what has changed here. */
export function save() {
	try {
		const stored = read();
		for (const [room, mine] of /** @type {Map<string, Fields>} */ (memory.rooms)) {
			const [before, now] = [written.get(room) ?? new Map(), frozen(mine)];
			/** @type {Fields} */
			const theirs = stored.rooms.get(room) ?? {};
			for (const field of new Set([...before.keys(), ...now.keys()])) {
				if (before.get(field) === now.get(field)) continue;
				if (LISTS.includes(field)) theirs[field] = merged(JSON.parse(before.get(field) ?? "[]"), mine[field] ?? [], theirs[field] ?? []);
				else if (now.has(field)) theirs[field] = mine[field];
				else delete theirs[field];
			}
			stored.rooms.set(room, /** @type {Memory} */ (theirs));
			written.set(room, now);
		}
		const top = (/** @type {"name" | "last" | "picture"} */ field) => (memory[field] === others[field] ? stored[field] : memory[field]);
		const all = { name: top("name"), last: top("last"), picture: top("picture") };
		others = { name: memory.name, last: memory.last, picture: memory.picture };
		localStorage.setItem(KEY, JSON.stringify({ ...all, rooms: Object.fromEntries(stored.rooms) }));
	} catch {
		// Full, or not allowed: then it lasts as long as the page.
	}
}

/**
 * Takes over what another page has written, unless it was changed here as well.
 * @param {boolean} [all] also what others had to say and may be gone before they have
 */
export function refresh(all = false) {
	const stored = read();
	for (const [room, theirs] of stored.rooms) {
		if (memory.rooms.has(room)) continue;
		memory.rooms.set(room, theirs);
		written.set(room, frozen(theirs));
	}
	for (const [room, mine] of /** @type {Map<string, Fields>} */ (memory.rooms)) {
		/** @type {Fields} */
		const theirs = stored.rooms.get(room) ?? {};
		const before = written.get(room) ?? new Map();
		written.set(room, before);
		for (const field of all ? LISTS : []) {
			const unknown = merged(mine[field] ?? [], [], theirs[field] ?? []);
			(mine[field] ??= []).push(...unknown);
			before.set(field, JSON.stringify([...JSON.parse(before.get(field) ?? "[]"), ...unknown]));
		}
		for (const field of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
			if (OWN.includes(field) || JSON.stringify(mine[field]) !== before.get(field)) continue;
			mine[field] = theirs[field];
			if (theirs[field] === undefined) before.delete(field);
			else before.set(field, JSON.stringify(theirs[field]));
		}
	}
	if (memory.name === others.name) others.name = memory.name = stored.name;
}

/** Calls a function whenever another page has written. @param {() => void} then */
export function onOthers(then) {
	addEventListener("storage", ({ key }) => {
		if (key !== null && key !== KEY) return;
		refresh();
		then();
	});
}

/** @param {string} room @returns {Memory} */
export function recall(room) {
	const known = memory.rooms.get(room);
	const list = (/** @type {any} */ value) => (Array.isArray(value) ? value : []);
	const fresh = { ...known, outbox: list(known?.outbox), refused: list(known?.refused) };
	memory.rooms.set(room, fresh);
	return fresh;
}

// The rooms of this page, the one that is shown, what is chosen in it, and who is told when that changes. It knows no document.

import { recall, refresh, save } from "./lib/memory.js";
import { Room } from "./log/room.js";

/** @typedef {import("./log/causality.js").DiagramEvent} DiagramEvent */
/** @typedef {import("./wire/connection.js").Entry} Entry */
/** @typedef {"reply" | "react" | "edit" | "delete" | "inspect" | "go"} Action */

/**
 * @typedef {object} Events what listeners are told, by name, with its arguments
 * @property {[Room]} room another room is shown
 * @property {[Room, import("./log/room.js").Change, any]} change in any room, shown or not
 * @property {[{added: Entry[], events: DiagramEvent[], reworded: Set<string>}]} lines the log has grown; `reworded`: messages that read otherwise now
 * @property {[DiagramEvent[]]} older an earlier page is at hand
 * @property {[DiagramEvent[]]} held something is held, or is no longer
 * @property {[]} outbox
 * @property {[]} reset the log is another one now
 * @property {[]} members
 * @property {[]} state of the connection
 * @property {[{said: import("./lib/memory.js").Outgoing, problem: import("./wire/connection.js").Problem, own: boolean}]} refused
 * @property {[string | null, string | null]} selected the last message that was chosen, and the member at which it was
 * @property {[]} hovered
 * @property {[HTMLElement]} rendered a line has a new element
 * @property {[Action, string, string | undefined]} act something is done with a message; of a reaction with a symbol
 * @property {[string, number | undefined]} go a message is to be shown; its position, if it is known
 * @property {[]} said something was said here
 */

/** @type {Map<keyof Events, ((...args: any) => void)[]>} */
const listeners = new Map();

/**
 * Has a function called whenever this happens. Changes of a room are told of the one that is shown.
 * @template {keyof Events} K
 * @param {K} what
 * @param {(...args: Events[K]) => void} then
 */
export function on(what, then) {
	const known = listeners.get(what);
	if (known) known.push(then);
	else listeners.set(what, [then]);
}

/**
 * Tells all listeners.
 * @template {keyof Events} K
 * @param {K} what
 * @param {Events[K]} args
 */
export function emit(what, ...args) {
	for (const then of listeners.get(what) ?? []) then(...args);
}

export const state = {
	/** @type {Map<string, Room>} rooms that were opened, or are joined */
	rooms: new Map(),
	/** @type {import("./wire/connection.js").RoomInfo[]} rooms that the server has */
	listed: [],
	/** @type {Room | null} the room that is shown */
	current: null,
	/** @type {string[]} up to two messages that are chosen */
	selected: [],
	/** @type {string | null} the member at which the last was chosen in the picture */
	selectedAt: null,
	/** @type {string | null} the message that is pointed at */
	hovered: null,
};

/** Returns the room of this name, made if it was not known here. @param {string} name */
export function roomOf(name) {
	const known = state.rooms.get(name);
	if (known) return known;
	const room = new Room(name, recall(name), { save, refresh: () => refresh(true) }, (change, detail) => {
		emit("change", room, change, detail);
		if (room === state.current) emit(change, detail);
	});
	state.rooms.set(name, room);
	return room;
}

/** Shows another room. @param {Room} room */
export function enter(room) {
	Object.assign(state, { current: room, selected: [], selectedAt: null, hovered: null });
	emit("room", room);
	emit("selected", null, null);
}

/**
 * Chooses a message.
 * @param {string | null} id null: none is chosen any more
 * @param {boolean} both beside the one that is chosen already
 * @param {string | null} [at] the member at which it is chosen
 */
export function choose(id, both, at = null) {
	const { selected, selectedAt } = state;
	// A line that is clicked again is not chosen any more; of what is drawn, several events tell the same rule.
	const isChosen = selected.length === 1 && selected[0] === id && selectedAt === null && at === null;
	if (id === null || (isChosen && !both)) state.selected = [];
	else if (both && selected.length > 0 && !selected.includes(id)) state.selected = [selected[0], id];
	else [state.selected, state.selectedAt] = [[id], at];
	emit("selected", id, at);
}

/** Points at a message. @param {string | null} id null: at none */
export function hover(id) {
	if (state.hovered === id) return;
	state.hovered = id;
	emit("hovered");
}

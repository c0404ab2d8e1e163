// The way into rooms: opening, making, joining, leaving and closing them, and how it stands with the connection.

import { memory, recall, save } from "../lib/memory.js";
import { words } from "../lib/text.js";
import { page, pane } from "../page.js";
import { enter, on, roomOf, state } from "../state.js";
import { Problem, closeRoom, createRoom } from "../wire/connection.js";
import { banner } from "./banner.js";
import { composer } from "./composer.js";
import { markNews } from "./log.js";
import { readRooms } from "./sidebar.js";

/** @typedef {import("../log/room.js").Room} Room */

/** The room where everybody begins who has chosen none. */
const FIRST_ROOM = "lobby";
/** The time, in milliseconds, until a room that could not be opened is tried again. */
const TRY_AGAIN = 3_000;

/** Shows the room that the address names. */
export function route() {
	let name = FIRST_ROOM;
	try {
		name = decodeURIComponent(location.hash.slice(1)) || memory.last || FIRST_ROOM;
	} catch {
		// Not an encoding of anything.
	}
	pane("chat");
	if (name !== state.current?.name) void openRoom(name);
}

/** Goes to a room; not as browsers follow a fragment, which scroll to what has that name in the page. @param {string} name */
export function go(name) {
	const hash = `#${encodeURIComponent(name)}`;
	if (location.hash !== hash) history.pushState(null, "", hash);
	route();
	pane("chat");
}

/** Joins again what this browser is in: whoever has joined other rooms hears of what is said there. */
export function openJoined() {
	for (const [name, { joined }] of memory.rooms) {
		if (joined && (state.rooms.get(name)?.session.state ?? "idle") === "idle") roomOf(name).open().catch(() => {});
	}
}

/** Shows a room, and says what to do where that is not possible. @param {string} name */
async function openRoom(name) {
	composer.keep();
	const room = roomOf(name);
	memory.last = name;
	save();
	page.roomName.textContent = name;
	page.joinProblem.textContent = "";
	enter(room);
	showState();
	try {
		const isFresh = !room.opened;
		await openOrMake(room);
		if (room !== state.current) return;
		if (isFresh) markNews(room);
		showState();
	} catch (error) {
		if (room !== state.current) return;
		const isMissing = error instanceof Problem && error.code === "no_such_room";
		banner(isMissing ? `There is no room “${name}”.` : `${words(error)} `, {
			[isMissing ? "Create it" : "Try again"]: async () => {
				if (isMissing) await make(name);
				void openRoom(name);
				void readRooms();
			},
			...(name === FIRST_ROOM ? {} : { [`To the ${FIRST_ROOM}`]: () => go(FIRST_ROOM) }),
		});
		if (!isMissing) setTimeout(() => room === state.current && !room.opened && void openRoom(name), TRY_AGAIN);
	}
}

/** Opens a room; the one in which everybody begins is made by whoever comes first. @param {Room} room */
async function openOrMake(room) {
	try {
		await room.open();
	} catch (error) {
		if (room.name !== FIRST_ROOM || !(error instanceof Problem) || error.code !== "no_such_room") throw error;
		await make(room.name).catch((refusal) => {
			// Another was first, which is as good.
			if (!(refusal instanceof Problem) || refusal.code !== "room_exists") throw refusal;
		});
		await room.open();
		void readRooms();
	}
}

/** Makes a room, and keeps the key with which it can be closed. @param {string} name */
async function make(name) {
	const { key } = await createRoom(name);
	const kept = state.rooms.get(name)?.memory ?? recall(name);
	kept.key = key;
	save();
}

/** @type {ReturnType<typeof setInterval> | undefined} */
let countdown;

/** Returns words for a server that takes nothing from this page. @param {string} [code] of its answer */
function refusal(code) {
	const [what, setting] = code === "wrong_host"
		? [`the server does not know that it is ${location.host}, as it was asked for`, `--allow-host ${location.hostname}`]
		: [`the server takes nothing from the origin ${location.origin}, from which this page came`, `--allow-origin ${location.origin}`];
	return `Nobody can join here: ${what}. Whoever runs it has to start it with ${setting}, or have the proxy before it pass on the Host that was asked for.`;
}

function showState() {
	const room = state.current;
	if (!room) return;
	const { state: connection } = room.session;
	clearInterval(countdown);
	page.state.textContent = {
		idle: "", connecting: "connecting…", live: "connected", waiting: "no connection", elsewhere: "in use elsewhere",
		closed: "the room is closed", refused: "not in the room", foreign: "not let in",
	}[connection];
	page.state.dataset.state = connection;
	const joined = !["idle", "refused"].includes(connection);
	page.composer.hidden = !joined;
	composer.fit();
	page.join.hidden = joined || !room.opened;
	page.leave.hidden = connection !== "live";
	page.closeRoom.hidden = connection !== "live" || !room.memory.key;
	if (!page.join.hidden) page.joinName.value ||= room.problem?.suggestion ?? room.memory.name ?? memory.name;
	if (connection === "refused" && room.problem) {
		page.joinProblem.textContent = room.problem.suggestion
			? `${room.problem.message}. “${room.problem.suggestion}” is free.` : room.problem.message;
		if (room.problem.suggestion) page.joinName.value = room.problem.suggestion;
	}
	const retry = () => {
		const seconds = Math.max(0, Math.ceil((room.session.retryAt - Date.now()) / 1000));
		banner(`No connection. What you say is kept, and sent when it is back. Trying again ${seconds > 0 ? `in ${seconds} s` : "now"}.`, { Now: () => room.session.hurry() });
	};
	if (connection === "waiting") {
		retry();
		countdown = setInterval(retry, 1_000);
	} else if (connection === "elsewhere") {
		banner("You are in this room in another browser.", { "Use it here": () => room.join() });
	} else if (connection === "foreign") {
		banner(refusal(room.problem?.code), { "Try again": () => room.join() });
	} else if (connection === "closed") {
		banner("The room was closed. What you see is what is left of it here.", { "Create it again": async () => {
			await make(room.name);
			room.close();
			state.rooms.delete(room.name);
			Object.assign(room.memory, { token: undefined, member: undefined, epoch: undefined, read: undefined });
			await openRoom(room.name);
		} });
	} else if (room.opened || connection === "connecting") banner("");
}

on("state", showState);

page.create.addEventListener("submit", async (event) => {
	event.preventDefault();
	const name = page.createName.value.trim();
	page.createProblem.textContent = "";
	try {
		await make(name);
	} catch (error) {
		if (!(error instanceof Problem) || error.code !== "room_exists") {
			page.createProblem.textContent = words(error);
			return;
		}
	}
	page.createName.value = "";
	void readRooms();
	// One that was missing is what is shown already.
	if (state.current?.name === name && !state.current.opened) void openRoom(name);
	go(name);
});

page.join.addEventListener("submit", (event) => {
	event.preventDefault();
	const name = page.joinName.value.trim();
	const room = state.current;
	if (!room || !name) return;
	memory.name = name;
	save();
	page.joinProblem.textContent = "";
	room.join(name);
	page.composer.hidden = false;
	composer.text.focus();
});

page.leave.addEventListener("click", () => {
	const room = state.current;
	if (!room) return;
	room.session.leave();
	room.memory.joined = false;
	save();
});

page.closeRoom.addEventListener("click", async () => {
	const room = state.current;
	if (!room?.memory.key || !confirm(`Close “${room.name}” for everybody?`)) return;
	try {
		await closeRoom(room.name, room.memory.key);
		room.memory.key = undefined;
		save();
		void readRooms();
	} catch (error) {
		composer.problem.textContent = `Not closed: ${words(error)}`;
	}
});

page.roomList.addEventListener("click", (event) => {
	const link = event.target instanceof Element ? event.target.closest("a") : null;
	if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
	event.preventDefault();
	go(link.dataset.room ?? FIRST_ROOM);
});
page.skip.addEventListener("click", (event) => {
	event.preventDefault();
	(page.join.hidden ? composer.text : page.joinName).focus();
});

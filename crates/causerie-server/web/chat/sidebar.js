// The list of rooms, with what is unread in them, and the list of who is in the room that is shown.

import { h } from "../lib/element.js";
import { badge } from "../lib/shapes.js";
import { page, paints, show } from "../page.js";
import { on, state } from "../state.js";
import { listRooms } from "../wire/connection.js";

/** The time between two readings of the list of rooms, in milliseconds. */
const ROOMS_EVERY = 10_000;

/** Reads the list of rooms anew. */
export async function readRooms() {
	try {
		state.listed = await listRooms();
		show("rooms");
	} catch {
		// The state of the connection is told elsewhere.
	}
}

/** The list of rooms as it is shown. */
let shown = "";

function showRooms() {
	const { rooms, listed, current } = state;
	const names = [...new Set([...listed.map(({ name }) => name), ...[...rooms.values()].flatMap((room) => (room.opened ? [room.name] : []))])].sort((a, b) => a.localeCompare(b));
	const told = names.map((name) => {
		const room = rooms.get(name);
		const members = room?.opened ? room.members.length : listed.find((other) => other.name === name)?.members;
		const joined = room && room.memory.joined ? room : null;
		return { name, members, unread: joined?.unread ?? 0, mentions: joined?.unreadMentions ?? 0 };
	});
	// Asked for at each frame in which something is said.
	const look = JSON.stringify([told, current?.name]);
	if (look === shown) return;
	shown = look;
	const items = told.map(({ name, members, unread, mentions }) => {
		const count = (/** @type {string} */ kind, /** @type {number} */ n, /** @type {string} */ what) =>
			h("span", { class: kind }, kind === "mentions" ? `@${n}` : String(n), h("span", { class: "unseen" }, ` ${what}`));
		return h("li", {}, h("a", { href: `#${encodeURIComponent(name)}`, "data-room": name, "aria-current": name === current?.name ? "page" : false },
			h("span", { class: "name" }, h("bdi", {}, name)),
			mentions > 0 && count("mentions", mentions, "for you"),
			unread > 0 ? count("unread", unread, "unread") : members !== undefined && count("count", members, "in")));
	});
	const focus = document.activeElement instanceof HTMLAnchorElement ? document.activeElement.hash : null;
	page.roomList.replaceChildren(...items);
	if (focus) page.roomList.querySelectorAll("a").forEach((link) => link.hash === focus && link.focus());
	const unread = told.reduce((sum, room) => sum + room.unread, 0);
	document.title = `${unread > 0 ? `(${unread}) ` : ""}${current ? `${current.name} · ` : ""}Causerie`;
}

function showMembers() {
	const { current } = state;
	if (!current) return;
	page.membersButton.textContent = `Members ${current.members.length}`;
	page.memberList.replaceChildren(...current.members.map(({ member, name }) =>
		h("li", {}, badge(member), h("bdi", {}, name), member === current.me && h("span", { class: "count" }, "you"), h("code", {}, member))));
}

paints("rooms", showRooms);

on("room", () => {
	showMembers();
	show("rooms");
});
on("change", (room, change) => {
	if (room !== state.current && (change === "lines" || change === "state")) show("rooms");
});
on("members", showMembers);
on("lines", ({ added }) => {
	if (added.some(({ kind }) => kind === "joined" || kind === "left")) showMembers();
});

void readRooms();
setInterval(() => {
	if (!document.hidden) void readRooms();
}, ROOMS_EVERY);

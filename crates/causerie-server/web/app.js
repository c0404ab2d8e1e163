// The page: rooms at the left, the chat, and the picture of what happened before what.

import { shiviz } from "./log/causality.js";
import { SYMBOLS, heldLine, line, outgoing, refused, short, written } from "./chat/lines.js";
import { Composer } from "./chat/composer.js";
import { Problem, closeRoom, createRoom, listRooms, search } from "./wire/connection.js";
import { Diagram, badge, shapePath, svg } from "./picture/diagram.js";
import { byId, h, timeElement } from "./lib/element.js";
import { compare, inspect, table } from "./picture/inspector.js";
import { memory, onOthers, recall, refresh as refreshMemory, save } from "./lib/memory.js";
import { askPermission, permission, tell } from "./lib/notify.js";
import { Room } from "./log/room.js";
import { flat, symbolKey } from "./lib/text.js";
import { VirtualList, firstOf, isSaid, keyOf } from "./log/timeline.js";

/** How often the list of rooms is read again, in milliseconds. */
const ROOMS_EVERY = 10_000;
/** The time, in milliseconds, within which what is read is not told outside the page. */
const READ_WITHIN = 500;
/** How many of those that are held are told below the chat. */
const HELD_SHOWN = 5;
/** Where everybody begins who has chosen nothing. */
const FIRST_ROOM = "lobby";

const page = {
	state: byId("state", HTMLElement),
	roomList: byId("room-list", HTMLUListElement),
	create: byId("create", HTMLFormElement),
	createName: byId("create-name", HTMLInputElement),
	createProblem: byId("create-problem", HTMLElement),
	notify: byId("notify", HTMLButtonElement),
	roomName: byId("room-name", HTMLElement),
	topic: byId("topic", HTMLElement),
	membersButton: byId("members-button", HTMLButtonElement),
	members: byId("members", HTMLElement),
	memberList: byId("member-list", HTMLUListElement),
	searchButton: byId("search-button", HTMLButtonElement),
	search: byId("search", HTMLElement),
	searchForm: byId("search-form", HTMLFormElement),
	searchWords: byId("search-words", HTMLInputElement),
	hits: byId("hits", HTMLUListElement),
	leave: byId("leave-button", HTMLButtonElement),
	closeRoom: byId("close-room", HTMLButtonElement),
	banner: byId("banner", HTMLElement),
	scroller: byId("scroller", HTMLElement),
	beginning: byId("beginning", HTMLElement),
	lines: byId("lines", HTMLElement),
	outbox: byId("outbox", HTMLElement),
	toEnd: byId("to-end", HTMLButtonElement),
	toNews: byId("to-news", HTMLButtonElement),
	join: byId("join", HTMLFormElement),
	joinName: byId("join-name", HTMLInputElement),
	joinProblem: byId("join-problem", HTMLElement),
	composer: byId("composer", HTMLFormElement),
	pictureButton: byId("picture-button", HTMLButtonElement),
	follow: byId("follow", HTMLButtonElement),
	window: byId("window", HTMLSelectElement),
	allArrows: byId("all-arrows", HTMLInputElement),
	arrivals: byId("arrivals", HTMLInputElement),
	tableButton: byId("table-button", HTMLButtonElement),
	folded: byId("folded", HTMLButtonElement),
	foldedAfter: byId("unfolded-after", HTMLElement),
	diagramHead: byId("diagram-head", HTMLElement),
	diagram: byId("diagram", HTMLElement),
	diagramTable: byId("diagram-table", HTMLElement),
	legend: byId("legend", HTMLElement),
	details: byId("details", HTMLElement),
	announcer: byId("announcer", HTMLElement),
	picker: byId("picker", HTMLElement),
};

/** @type {Map<string, Room>} */
const rooms = new Map();
/** @type {import("./wire/connection.js").RoomInfo[]} */
let listed = [];
/** @type {Room | null} the one that is shown */
let current = null;
/** @type {string[]} up to two messages */
let selected = [];
/** @type {string | null} the member at which it was chosen in the picture */
let selectedAt = null;
/** The picture stops at the next message that is held, and tells why: where the address asks for it. */
let stopsAtHold = new URLSearchParams(location.search).has("hold");
/** @type {string | null} */
let hovered = null;
/** The news that its reader found: the position behind which it begins, its size, and whether it was seen. */
const news = { behind: /** @type {number | null} */ (null), count: 0, seen: true };
let reading = false;
let searching = 0;

// --- the list of lines, and the picture -------------------------------------------------------------------------

const list = new VirtualList({
	scroller: page.scroller,
	content: page.lines,
	render: (index) => {
		const element = line(/** @type {Room} */ (current), index, act, news.behind);
		cone(element);
		return element;
	},
	onTop: () => void readOlder(),
});

const composer = new Composer({
	room: () => current,
	onSaid: () => {
		list.atEnd = true;
	},
	save,
});

const diagram = new Diagram({
	head: page.diagramHead,
	scroller: page.diagram,
	name: (member) => flat(current?.nameOf(member) ?? member),
	onHover: (id) => hover(id),
	onSelect: (id, both, at) => select(id, both, at),
});

/** @param {import("./picture/diagram.js").DiagramEvent[]} events */
const pictured = (events) => (page.arrivals.checked ? events : events.filter(({ observed }) => !observed));

/** What is to be shown again when the browser shows the next picture. */
const stale = { lines: false, rooms: false, details: false, table: false };
let scheduled = false;

/** @param {(keyof typeof stale)[]} parts */
function show(...parts) {
	for (const part of parts) stale[part] = true;
	if (scheduled) return;
	scheduled = true;
	// A page that is not seen gets no frames, and counts what is unread all the same.
	if (document.hidden) setTimeout(showNow, 200);
	else requestAnimationFrame(showNow);
}

function showNow() {
	scheduled = false;
	const { lines, rooms: roomsToo, details, table: tableToo } = stale;
	Object.assign(stale, { lines: false, rooms: false, details: false, table: false });
	if (lines) showLines();
	if (roomsToo || lines) showRooms();
	if (details) showDetails();
	if (tableToo || lines) showPictureState();
}

function showLines() {
	if (!current) return;
	const { timeline } = current;
	const room = current;
	const held = [...room.held].slice(0, HELD_SHOWN).map(([id, { waitsFor }]) => heldLine(room, id, waitsFor));
	const unsaid = room.memory.refused.map((said) => refused(room, said, (which, mend) => {
		room.session.dismiss(which.id);
		if (mend) composer.mend(which);
	}));
	page.outbox.replaceChildren(...held, ...unsaid, ...room.outbox.map((said) => outgoing(room, said)));
	list.setKeys(timeline.keys);
	// A feed without articles is none.
	page.lines.setAttribute("role", timeline.lines.length > 0 ? "feed" : "group");
	page.beginning.textContent = !current.opened ? "" : timeline.from > 1 ? "Reading what was said before…" : "The beginning of this room.";
	page.topic.textContent = current.topic;
	const looks = list.atEnd && !document.hidden && document.hasFocus();
	// Whoever comes back finds where the news begins; for who reads along nothing is new.
	if (looks && !reading && current.unread > 0) markNews(current);
	reading = looks;
	if (looks) current.markRead();
	const { unread } = current;
	page.toEnd.hidden = list.atEnd;
	page.toEnd.textContent = unread > 0 ? `${unread} new ↓` : "Newest ↓";
	showNews();
}

/** Offers the way to where the news begins, as long as that is further up and was not seen. */
function showNews() {
	const index = newsIndex();
	if (index < 0 || !current || list.heights.count === 0) {
		page.toNews.hidden = true;
		return;
	}
	const above = list.heights.top(Math.min(index, list.heights.count)) < page.scroller.scrollTop;
	if (!above && current.timeline.from <= (news.behind ?? 0) + 1) news.seen = true;
	page.toNews.hidden = news.seen || !above;
	page.toNews.textContent = `↑ ${news.count}${current.timeline.from > (news.behind ?? 0) + 1 ? "+" : ""} new`;
}

/** Returns the line with which the news begins; the first, if it is further up; -1 if there is none. */
function newsIndex() {
	const { behind } = news;
	if (behind === null || !current) return -1;
	const { lines } = current.timeline;
	let [low, high] = [0, lines.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (firstOf(lines[middle]) > behind) high = middle;
		else low = middle + 1;
	}
	return low < lines.length ? low : -1;
}

async function readOlder() {
	const room = current;
	if (!room || room.timeline.from <= 1 || room.loadingOlder) return;
	page.lines.setAttribute("aria-busy", "true");
	try {
		await room.readOlder();
	} catch (error) {
		page.beginning.textContent = `What was said before cannot be read: ${words(error)}`;
	} finally {
		page.lines.setAttribute("aria-busy", "false");
	}
}

/** @param {unknown} error */
const words = (error) => (error instanceof Error ? error.message : String(error));

// --- rooms ------------------------------------------------------------------------------------------------------

/** @param {string} name */
function roomOf(name) {
	const known = rooms.get(name);
	if (known) return known;
	const room = new Room(name, recall(name), { save, refresh: () => refreshMemory(true) }, (change, detail) => changed(room, change, detail));
	rooms.set(name, room);
	return room;
}

/**
 * @param {Room} room
 * @param {import("./log/room.js").Change} change
 * @param {any} detail
 */
function changed(room, change, detail) {
	if (change === "lines") notify(room, detail.added);
	if (room !== current) {
		if (change === "lines" || change === "state") show("rooms");
		return;
	}
	switch (change) {
		case "lines":
			announce(detail.added);
			reword(detail.reworded);
			if (detail.added.some((/** @type {import("./wire/connection.js").Entry} */ { kind }) => kind === "joined" || kind === "left")) showMembers();
			refresh(detail.added);
			draw(detail.events);
			if (lit) relight();
			show("lines", "details");
			break;
		case "older":
			diagram.prepend(detail);
			// At once: until the list knows of them it would take one line for another.
			list.setKeys(room.timeline.keys);
			refresh(room.timeline.lines.slice(0, 400));
			show("lines", "details");
			break;
		case "held":
			draw(detail);
			show("lines", "details", "table");
			break;
		case "outbox":
			show("lines");
			break;
		case "reset":
			select(null, false);
			diagram.setEvents([]);
			list.heights.reset();
			list.setKeys(room.timeline.keys);
			show("lines", "details");
			break;
		case "members":
			showMembers();
			diagram.redraw();
			break;
		case "state":
			list.refresh(list.elements.keys());
			showState();
			show("lines");
			break;
		case "refused":
			if (detail.own && composer.takeBack(detail.said, detail.problem.message)) room.session.dismiss(detail.said.id);
			show("lines");
			break;
	}
}

/** Shows anew what says something else now, or nothing any more, wherever it stands. @param {Set<string>} ids */
function reword(ids) {
	if (ids.size === 0 || !current) return;
	const room = current;
	diagram.relabel(ids, (id) => room.label(id));
	composer.showContext();
	for (const told of [...page.announcer.children]) if (told instanceof HTMLElement && ids.has(told.dataset.id ?? "")) told.remove();
	show("table");
}

/** What happened next. @param {import("./picture/diagram.js").DiagramEvent[]} events */
function draw(events) {
	const drawn = pictured(events);
	const hold = stopsAtHold ? drawn.findIndex(({ kind }) => kind === "hold") : -1;
	if (hold < 0) {
		diagram.append(drawn);
		return;
	}
	stopsAtHold = false;
	diagram.append(drawn.slice(0, hold + 1));
	diagram.pause();
	diagram.append(drawn.slice(hold + 1));
	selected = [];
	select(drawn[hold].id, false, drawn[hold].at);
}

/** What was changed by others that have come. @param {import("./wire/connection.js").Entry[]} added */
function refresh(added) {
	if (!current) return;
	const keys = new Set();
	for (const entry of added) {
		if (entry.kind === "gap") continue;
		keys.add(current.timeline.fold.shownAs(entry.id));
		// Whoever quotes it says what it says now.
		if (entry.kind === "edit" || entry.kind === "delete") for (const key of list.elements.keys()) keys.add(key);
	}
	list.refresh(keys);
}

/** Says what is new to those who listen. @param {import("./wire/connection.js").Entry[]} added */
function announce(added) {
	if (!current || current.session.state !== "live" || added.length > 20) return;
	for (const entry of added) {
		if (entry.kind === "gap" || entry.member === current.me || entry.kind === "reaction") continue;
		const words = current.words(entry.id);
		page.announcer.append(h("p", { "data-id": entry.id }, isSaid(entry) && entry.kind !== "action" ? `${entry.author}: ${words}` : words));
	}
	while (page.announcer.childElementCount > 20) page.announcer.firstElementChild?.remove();
}

/** Tells outside the page who has called us, unless it has been read before long: here, or in another page. @param {Room} room @param {import("./wire/connection.js").Entry[]} added */
function notify(room, added) {
	if (room.session.state !== "live" || !room.session.leading || permission() !== "granted") return;
	for (const entry of added) {
		if (entry.kind === "gap" || !room.mentions.has(entry.id)) continue;
		setTimeout(() => {
			if ((room.memory.read ?? 0) >= entry.position || !room.mentions.has(entry.id)) return;
			tell({ title: `${entry.author} · ${room.name}`, body: short(room.words(entry.id), 200), tag: `${room.name} ${entry.id}` }, () => go(room.name));
		}, READ_WITHIN);
	}
}

/** Offers to tell calls outside the page, to whoever is in a room and was not asked yet. */
function showNotify() {
	page.notify.hidden = permission() !== "default" || ![...rooms.values()].some((room) => room.memory.joined);
}
page.notify.addEventListener("click", async () => {
	await askPermission();
	showNotify();
});

async function readRooms() {
	try {
		listed = await listRooms();
		show("rooms");
	} catch {
		// The state of the connection is told elsewhere.
	}
}

/** What the list of rooms looks like now. */
let roomsShown = "";

function showRooms() {
	const names = [...new Set([...listed.map(({ name }) => name), ...[...rooms.values()].flatMap((room) => (room.opened ? [room.name] : []))])].sort((a, b) => a.localeCompare(b));
	const told = names.map((name) => {
		const room = rooms.get(name);
		const members = room?.opened ? room.members.length : listed.find((other) => other.name === name)?.members;
		const joined = room && room.memory.joined ? room : null;
		return { name, members, unread: joined?.unread ?? 0, mentions: joined?.unreadMentions ?? 0 };
	});
	// Asked for at each frame in which something is said.
	const look = JSON.stringify([told, current?.name]);
	if (look === roomsShown) return;
	roomsShown = look;
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
	if (!current) return;
	page.membersButton.textContent = `Members ${current.members.length}`;
	page.memberList.replaceChildren(...current.members.map(({ member, name }) =>
		h("li", {}, badge(member), h("bdi", {}, name), member === current?.me && h("span", { class: "count" }, "you"), h("code", {}, member))));
}

/** @param {string} name */
async function openRoom(name) {
	composer.keep();
	const room = roomOf(name);
	current = room;
	memory.last = name;
	save();
	selected = [];
	hovered = null;
	list.elements.forEach((element) => element.remove());
	list.elements.clear();
	list.heights.reset();
	list.atEnd = true;
	list.setKeys(room.timeline.keys);
	page.hits.replaceChildren();
	page.roomName.textContent = name;
	page.joinProblem.textContent = "";
	composer.open(room);
	diagram.setEvents(pictured(room.events));
	setCauses();
	diagram.follow();
	showState();
	show("lines", "rooms", "details");
	markNews(room);
	reading = false;
	try {
		const fresh = !room.opened;
		await openOrMake(room);
		if (room !== current) return;
		if (fresh) markNews(room);
		showState();
	} catch (error) {
		if (room !== current) return;
		const missing = error instanceof Problem && error.code === "no_such_room";
		banner(missing ? `There is no room “${name}”.` : `${words(error)} `, {
			[missing ? "Create it" : "Try again"]: async () => {
				if (missing) await make(name);
				void openRoom(name);
				void readRooms();
			},
			...(name === FIRST_ROOM ? {} : { [`To the ${FIRST_ROOM}`]: () => go(FIRST_ROOM) }),
		});
		if (!missing) setTimeout(() => room === current && !room.opened && void openRoom(name), 3_000);
	}
}

/** Makes a room, and keeps the key with which it can be closed. @param {string} name */
async function make(name) {
	const { key } = await createRoom(name);
	const kept = rooms.get(name)?.memory ?? recall(name);
	kept.key = key;
	save();
}

page.closeRoom.addEventListener("click", async () => {
	const room = current;
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

/** Notes where the news begins. @param {Room} room */
function markNews(room) {
	const { unread } = room;
	Object.assign(news, { behind: unread > 0 ? room.memory.read ?? null : null, count: unread, seen: unread === 0 });
	list.refresh(list.elements.keys());
}

/**
 * @param {string} text
 * @param {{[button: string]: () => unknown}} [actions]
 */
function banner(text, actions = {}) {
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

/** @type {ReturnType<typeof setInterval> | undefined} */
let countdown;

/** What to tell where the server takes nothing from this page. @param {string} [code] of its answer */
function refusal(code) {
	const [what, setting] = code === "wrong_host"
		? [`the server does not know that it is ${location.host}, as it was asked for`, `--allow-host ${location.hostname}`]
		: [`the server takes nothing from the origin ${location.origin}, from which this page came`, `--allow-origin ${location.origin}`];
	return `Nobody can join here: ${what}. Whoever runs it has to start it with ${setting}, or have the proxy before it pass on the Host that was asked for.`;
}

function showState() {
	const room = current;
	if (!room) return;
	const { state } = room.session;
	clearInterval(countdown);
	const told = {
		idle: "", connecting: "connecting…", live: "connected", waiting: "no connection", elsewhere: "in use elsewhere",
		closed: "the room is closed", refused: "not in the room", foreign: "not let in",
	}[state];
	page.state.textContent = told;
	page.state.dataset.state = state;
	const joined = !["idle", "refused"].includes(state);
	page.composer.hidden = !joined;
	composer.fit();
	page.join.hidden = joined || !room.opened;
	page.leave.hidden = state !== "live";
	page.closeRoom.hidden = state !== "live" || !room.memory.key;
	showNotify();
	if (!page.join.hidden) page.joinName.value ||= room.problem?.suggestion ?? room.memory.name ?? memory.name;
	if (state === "refused" && room.problem) {
		page.joinProblem.textContent = room.problem.suggestion
			? `${room.problem.message}. “${room.problem.suggestion}” is free.` : room.problem.message;
		if (room.problem.suggestion) page.joinName.value = room.problem.suggestion;
	}
	const retry = () => {
		const seconds = Math.max(0, Math.ceil((room.session.retryAt - Date.now()) / 1000));
		banner(`No connection. What you say is kept, and sent when it is back. Trying again ${seconds > 0 ? `in ${seconds} s` : "now"}.`, { Now: () => room.session.hurry() });
	};
	if (state === "waiting") {
		retry();
		countdown = setInterval(retry, 1_000);
	} else if (state === "elsewhere") {
		banner("You are in this room in another browser.", { "Use it here": () => room.join() });
	} else if (state === "foreign") {
		banner(refusal(room.problem?.code), { "Try again": () => room.join() });
	} else if (state === "closed") {
		banner("The room was closed. What you see is what is left of it here.", { "Create it again": async () => {
			await make(room.name);
			room.close();
			rooms.delete(room.name);
			Object.assign(room.memory, { token: undefined, member: undefined, epoch: undefined, read: undefined });
			await openRoom(room.name);
		} });
	} else if (room.opened || state === "connecting") banner("");
}

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
	if (current?.name === name && !current.opened) void openRoom(name);
	go(name);
});

page.join.addEventListener("submit", (event) => {
	event.preventDefault();
	const name = page.joinName.value.trim();
	if (!current || !name) return;
	memory.name = name;
	save();
	page.joinProblem.textContent = "";
	const room = current;
	room.join(name);
	page.composer.hidden = false;
	composer.text.focus();
});

page.leave.addEventListener("click", () => {
	if (!current) return;
	current.session.leave();
	current.memory.joined = false;
	save();
});

// --- writing ----------------------------------------------------------------------------------------------------

composer.text.addEventListener("keydown", (event) => {
	if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
		event.preventDefault();
		composer.form.requestSubmit();
	} else if (event.key === "Escape" && (composer.context.reply || composer.context.edit)) {
		composer.cancel();
	} else if (event.key === "ArrowUp" && composer.text.value === "" && current) {
		const { timeline, me } = current;
		const own = timeline.lines.findLast((entry) => entry.kind !== "gap" && isSaid(entry) && entry.member === me && !timeline.fold.view(entry.id).deleted);
		if (own && own.kind !== "gap") {
			event.preventDefault();
			act("edit", own.id);
		}
	}
});

// --- what can be done with a message ----------------------------------------------------------------------------

/** @type {import("./chat/lines.js").Act} */
function act(action, id, detail) {
	const room = current;
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
			select(id, false);
			showPicture(true);
			pane("picture");
			break;
		case "go": void goTo(id); break;
	}
}

/** @param {string} id */
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

/** Shows a message, also one that is not loaded yet. @param {string} id @param {number} [position] */
async function goTo(id, position) {
	const room = current;
	if (!room) return;
	const turn = (searching += 1);
	const { timeline } = room;
	while (!timeline.fold.byId.has(id) && timeline.from > 1 && (position === undefined || position < timeline.from)) {
		page.beginning.textContent = "Going back to it…";
		if (!(await room.readOlder(1000)) || room !== current || turn !== searching) return;
	}
	const shown = timeline.fold.shownAs(id);
	const index = timeline.lines.findIndex((entry) => keyOf(entry) === shown);
	if (index < 0) return;
	list.setKeys(timeline.keys);
	const element = list.reveal(index);
	element?.focus({ preventScroll: true });
	element?.classList.add("found");
	pane("chat");
}

page.toNews.addEventListener("click", async () => {
	const room = current;
	const { behind } = news;
	if (!room || behind === null) return;
	while (room.timeline.from > behind + 1) {
		page.beginning.textContent = "Going back to it…";
		if (!(await room.readOlder(1000)) || room !== current) break;
	}
	if (room !== current) return;
	list.setKeys(room.timeline.keys);
	list.reveal(newsIndex())?.focus({ preventScroll: true });
	news.seen = true;
	show("lines");
});

page.lines.addEventListener("keydown", (event) => {
	const element = event.target instanceof Element ? event.target.closest("[data-index]") : null;
	if (!(element instanceof HTMLElement) || !current) return;
	const index = Number(element.dataset.index);
	const { id } = element.dataset;
	const last = current.timeline.lines.length - 1;
	const to = { ArrowUp: index - 1, ArrowDown: index + 1, Home: 0, End: last }[event.key];
	if (to !== undefined && event.target === element) {
		event.preventDefault();
		const next = list.reveal(Math.max(0, Math.min(last, to)));
		next?.focus({ preventScroll: true });
		next?.scrollIntoView({ block: "nearest" });
		return;
	}
	const buttons = [...element.querySelectorAll("button")];
	const at = buttons.findIndex((button) => button === document.activeElement);
	if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
		event.preventDefault();
		const next = at + (event.key === "ArrowRight" ? 1 : -1);
		(buttons[next] ?? element).focus();
	} else if (event.key === "Escape") {
		composer.text.focus();
	} else if (event.target === element && id) {
		const key = { r: "reply", e: "edit", "+": "react", Delete: "delete", i: "inspect", Enter: "inspect" }[event.key];
		if (key && (key === "inspect" || element.querySelector(`[data-action="${key}"]`))) {
			event.preventDefault();
			act(/** @type {import("./chat/lines.js").Action} */ (key), id);
		}
	}
});

page.scroller.addEventListener("keydown", (event) => {
	if (event.target !== page.scroller || !current || !["ArrowUp", "ArrowDown", "End", "Home"].includes(event.key)) return;
	event.preventDefault();
	const { lines } = current.timeline;
	if (lines.length === 0) return;
	list.reveal(event.key === "Home" ? 0 : lines.length - 1)?.focus({ preventScroll: true });
});

page.lines.addEventListener("pointerover", (event) => hover(idAt(event)));
page.lines.addEventListener("pointerleave", () => hover(null));
page.lines.addEventListener("focusin", (event) => hover(idAt(event)));
page.lines.addEventListener("focusout", () => hover(null));
page.lines.addEventListener("click", (event) => {
	const id = idAt(event);
	if (!id || (event.target instanceof Element && event.target.closest("button, a"))) return;
	const both = event.shiftKey || event.ctrlKey || event.metaKey;
	// Whoever marks words wants to copy them.
	if (both || !getSelection()?.toString()) select(id, both);
});
// With Shift a second message is chosen, and not the words in between.
page.lines.addEventListener("mousedown", (event) => {
	if (event.shiftKey) event.preventDefault();
});

/** @param {Event} event */
function idAt(event) {
	const element = event.target instanceof Element ? event.target.closest("[data-index]") : null;
	return element instanceof HTMLElement ? element.dataset.id ?? null : null;
}

page.toEnd.addEventListener("click", () => {
	list.toEnd();
	current?.markRead();
	show("lines");
});
page.scroller.addEventListener("scroll", () => {
	if (page.toEnd.hidden !== list.atEnd || !news.seen) show("lines");
}, { passive: true });

// --- cones ------------------------------------------------------------------------------------------------------

let lighting = false;

/** @param {string | null} id */
function hover(id) {
	if (hovered === id) return;
	hovered = id;
	relight();
}

function relight() {
	if (lighting) return;
	lighting = true;
	requestAnimationFrame(() => {
		lighting = false;
		light();
	});
}

/**
 * Of all that is in the document, and this one, what stands first in the log.
 * @param {string} id
 */
function lowestInSight(id) {
	let lowest = id;
	const order = (/** @type {string} */ at) => current?.history.get(at)?.order ?? Number.POSITIVE_INFINITY;
	for (const at of [...list.elements.keys(), ...diagram.visible().map((event) => event.id)]) if (order(at) < order(lowest)) lowest = at;
	return lowest;
}

/** @returns {import("./picture/diagram.js").Cones | null} */
function cones() {
	const focus = hovered ?? (selected.length === 1 ? selected[0] : null);
	if (!focus || !current?.history.get(focus)) return null;
	const { history } = current;
	return { focus: new Set([focus]), past: history.past(focus, lowestInSight(focus)), future: history.future(focus) };
}

/** @type {import("./picture/diagram.js").Cones | null} */
let lit = null;

function light() {
	lit = cones();
	diagram.setCones(lit);
	page.lines.classList.toggle("hovered", lit !== null && hovered !== null);
	for (const element of list.elements.values()) cone(element);
}

/** @param {HTMLElement} element */
function cone(element) {
	const { id } = element.dataset;
	const focus = lit && current ? [...lit.focus].map((at) => current?.timeline.fold.shownAs(at)) : [];
	const state = !lit || !id ? "" : focus.includes(id) ? "focus" : lit.past.has(id) ? "past" : lit.future.has(id) ? "future" : "concurrent";
	if (element.dataset.cone !== state) element.dataset.cone = state;
	element.classList.toggle("selected", id !== undefined && selected.includes(id));
}

// --- choosing ---------------------------------------------------------------------------------------------------

/**
 * @param {string | null} id
 * @param {boolean} both
 * @param {string | null} [at] the member at which it was chosen
 */
function select(id, both, at = null) {
	// A line that is clicked again is not chosen any more; of what is drawn, several events tell the same rule.
	const isChosen = selected.length === 1 && selected[0] === id && selectedAt === null && at === null;
	if (id === null || (isChosen && !both)) selected = [];
	else if (both && selected.length > 0 && !selected.includes(id)) selected = [selected[0], id];
	else [selected, selectedAt] = [[id], at];
	diagram.setSelected(selected, selectedAt);
	// Once what is said about it has taken its room.
	if (id) setTimeout(() => diagram.reveal(id, at), 50);
	light();
	show("details");
}

function showDetails() {
	const room = current;
	if (!room) return;
	const choose = (/** @type {string} */ id, /** @type {string | undefined} */ at) => {
		selected = [];
		select(id, false, at ?? null);
		if (at === undefined) void goTo(id);
	};
	const [a, b] = selected;
	if (a === undefined) {
		page.details.replaceChildren(h("p", { class: "hint" },
			"Point at a message to see what is causally before it, and after it; what fades is concurrent with it. Click where it was sent, received or delivered, for the rule there; click another with Shift to compare them."));
		return;
	}
	const close = h("button", { type: "button", class: "close", "aria-label": "Close", click: () => select(null, false) }, "✕");
	try {
		if (b === undefined) page.details.replaceChildren(close, ...inspect(room, { id: a, at: selectedAt }, choose));
		else page.details.replaceChildren(close, ...compare(room, a, b, choose));
	} catch (error) {
		// What was chosen is gone, as after another room has taken this one's name.
		page.details.replaceChildren(close, h("p", {}, words(error)));
	}
}

// --- the picture's tools ----------------------------------------------------------------------------------------

function setCauses() {
	const room = current;
	if (!room) return;
	diagram.setCauses((id) => {
		const record = room.timeline.fold.byId.get(id);
		if (!record) return [];
		if (!page.allArrows.checked) return record.deps;
		const [author] = id.split("#");
		return [...room.history.vector(id)].filter(([member]) => member !== author).map(([member, { count }]) => `${member}#${count}`);
	});
}

function showPictureState() {
	const { before, after } = diagram.folded;
	const paused = diagram.pausedAt !== null;
	page.follow.setAttribute("aria-pressed", String(!paused));
	page.follow.textContent = paused ? "Paused" : "Following";
	const more = before + Math.max(0, (current?.timeline.from ?? 1) - 1);
	page.folded.hidden = more === 0;
	page.folded.textContent = `▴ ${more} earlier ${more === 1 ? "event" : "events"} folded`;
	const newer = paused && after > 0 ? `▾ ${after} newer ${after === 1 ? "event" : "events"}: ▸ steps on` : "";
	const unobserved = current?.unobserved ? `${current.unobserved} arrivals at members were too many to be told.` : "";
	page.foldedAfter.textContent = [newer, unobserved].filter(Boolean).join(" ");
	if (!page.diagramTable.hidden && current) {
		page.diagramTable.replaceChildren(table(current, diagram.visible(), (id, at) => select(id, false, at)));
	}
}

page.follow.addEventListener("click", () => {
	if (diagram.pausedAt === null) diagram.pause();
	else diagram.follow();
	show("table");
});
byId("back", HTMLButtonElement).addEventListener("click", () => {
	diagram.step(-1);
	show("table");
});
byId("forward", HTMLButtonElement).addEventListener("click", () => {
	diagram.step(1);
	show("table");
});
byId("picture", HTMLElement).addEventListener("keydown", (event) => {
	const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
	if (by === undefined || event.defaultPrevented || (event.target instanceof Element && event.target.closest("select, input"))) return;
	event.preventDefault();
	diagram.step(by);
	show("table");
});
page.window.addEventListener("change", () => {
	diagram.setWindow(Number(page.window.value));
	diagram.following.atEnd = true;
	show("table");
});
page.allArrows.addEventListener("change", setCauses);
page.arrivals.addEventListener("change", () => {
	diagram.setEvents(pictured(current?.events ?? []));
	diagram.follow();
	show("table");
});
page.folded.addEventListener("click", async () => {
	diagram.following.atEnd = false;
	diagram.setWindow(diagram.window + 60);
	if (diagram.folded.before === 0) await current?.readOlder().catch(() => false);
	show("table");
});
page.tableButton.addEventListener("click", () => {
	const on = page.diagramTable.hidden;
	page.diagramTable.hidden = !on;
	page.diagram.hidden = on;
	page.diagramHead.hidden = on;
	page.tableButton.setAttribute("aria-pressed", String(on));
	show("table");
});

/**
 * @param {string} name
 * @param {string} type
 * @param {string} content
 */
function download(name, type, content) {
	const url = URL.createObjectURL(new Blob([content], { type }));
	h("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

byId("export-svg", HTMLButtonElement).addEventListener("click", () => {
	if (current) download(`${current.name}.svg`, "image/svg+xml", diagram.toSvg());
});
byId("export-shiviz", HTMLButtonElement).addEventListener("click", () => {
	const room = current;
	if (!room) return;
	const shown = diagram.visible().flatMap(({ kind, id }) => (kind === "send" ? room.history.get(id) ?? [] : []));
	const text = shiviz(shown, (member) => room.nameOf(member), ({ id }) => room.words(id));
	download(`${room.name}.log`, "text/plain", text);
});

function legend() {
	const sign = (/** @type {SVGElement[]} */ ...parts) => svg("svg", { width: 22, height: 16, viewBox: "-11 -8 22 16" }, ...parts);
	const dot = (/** @type {string} */ kind) => svg("g", { class: `event ${kind} hue-0` }, svg("path", { class: "dot", d: shapePath(0, 5) }));
	const arrow = svg("path", { class: "arrow", d: "M-9 -5L3 2" });
	const head = svg("path", { class: "arrowhead", d: "M9 5.5L1.5 4.500L4.500 -0.500Z" });
	const thin = svg("path", { class: "arrow delivery", d: "M-9 -5L3 2" });
	const thinHead = /** @type {SVGElement} */ (head.cloneNode());
	const held = svg("line", { class: "held hue-0", x1: 0, x2: 0, y1: -7, y2: 8 });
	const small = svg("g", { class: "event deliver hue-0" }, svg("path", { class: "dot", d: shapePath(0, 4) }));
	page.legend.append(sign(dot("send")), "sent", sign(arrow, head), "causally before",
		sign(thin, thinHead), "received", sign(small), "delivered", sign(held, dot("hold")), "held back");
}

// --- search, members --------------------------------------------------------------------------------------------

/** @param {HTMLButtonElement} button @param {HTMLElement} panel */
function toggle(button, panel) {
	button.addEventListener("click", () => {
		panel.hidden = !panel.hidden;
		button.setAttribute("aria-expanded", String(!panel.hidden));
		if (!panel.hidden) panel.querySelector("input")?.focus();
	});
	panel.addEventListener("keydown", ({ key }) => {
		if (key !== "Escape") return;
		panel.hidden = true;
		button.setAttribute("aria-expanded", "false");
		button.focus();
	});
}
toggle(page.membersButton, page.members);
toggle(page.searchButton, page.search);

page.searchForm.addEventListener("submit", async (event) => {
	event.preventDefault();
	const room = current;
	if (!room) return;
	try {
		const { messages: found, complete } = await search(room.name, page.searchWords.value);
		if (room !== current) return;
		const items = found.flatMap((record) => {
			const { timeline } = room;
			// What is at hand is known as it is today; the rest as the server has it.
			const text = timeline.fold.byId.has(timeline.fold.shownAs(record.id)) ? timeline.fold.view(timeline.fold.shownAs(record.id)).text : record.text ?? null;
			if (text === null) return [];
			return [h("li", {}, h("button", { type: "button", click: () => void goTo(record.id, record.position) },
				h("bdi", { class: "author" }, record.author), " ", written(short(text, 120)), " ", timeElement(record.time)))];
		});
		page.hits.replaceChildren(...(items.length > 0 ? items : [h("li", {}, "Nothing found.")]));
		if (complete === false) page.hits.append(h("li", { class: "hint" }, "The server makes its index anew: what is older is found later."));
	} catch (error) {
		page.hits.replaceChildren(h("li", { class: "problem" }, words(error)));
	}
});

// --- parts of the page ------------------------------------------------------------------------------------------

/** On a small screen one part is seen at a time. @param {string} name */
function pane(name) {
	document.body.dataset.pane = name;
	for (const button of document.querySelectorAll(".panes button")) {
		if (!(button instanceof HTMLElement)) continue;
		if (button.dataset.pane === name) button.setAttribute("aria-current", "true");
		else button.removeAttribute("aria-current");
	}
}
for (const button of document.querySelectorAll(".panes button")) {
	button.addEventListener("click", () => {
		if (button instanceof HTMLElement && button.dataset.pane) pane(button.dataset.pane);
	});
}

/** Shows the room that the address names. */
function route() {
	let name = FIRST_ROOM;
	try {
		name = decodeURIComponent(location.hash.slice(1)) || memory.last || FIRST_ROOM;
	} catch {
		// Not an encoding of anything.
	}
	pane("chat");
	if (name !== current?.name) void openRoom(name);
}

/** Goes to a room; not as browsers follow a fragment, which scroll to what has that name in the page. @param {string} name */
function go(name) {
	const hash = `#${encodeURIComponent(name)}`;
	if (location.hash !== hash) history.pushState(null, "", hash);
	route();
	pane("chat");
}

page.roomList.addEventListener("click", (event) => {
	const link = event.target instanceof Element ? event.target.closest("a") : null;
	if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
	event.preventDefault();
	go(link.dataset.room ?? FIRST_ROOM);
});
byId("skip", HTMLAnchorElement).addEventListener("click", (event) => {
	event.preventDefault();
	(page.join.hidden ? composer.text : page.joinName).focus();
});

/** Opens the picture, or closes it; it stays so. @param {boolean} on */
function showPicture(on) {
	document.body.classList.toggle("no-picture", !on);
	page.pictureButton.setAttribute("aria-expanded", String(on));
	if ((memory.picture !== false) === on) return;
	memory.picture = on;
	save();
}
page.pictureButton.addEventListener("click", () => showPicture(document.body.classList.contains("no-picture")));
byId("picture-close", HTMLButtonElement).addEventListener("click", () => {
	showPicture(false);
	page.pictureButton.focus();
});

/** Joins again what this browser is in: whoever has joined other rooms hears of what is said there. */
function openJoined() {
	for (const [name, { joined }] of memory.rooms) {
		if (joined && (rooms.get(name)?.session.state ?? "idle") === "idle") roomOf(name).open().catch(() => {});
	}
}

addEventListener("hashchange", route);
addEventListener("online", () => rooms.forEach((room) => room.hurry()));
addEventListener("focus", () => show("lines"));
addEventListener("blur", () => show("lines"));
document.addEventListener("visibilitychange", () => {
	if (!document.hidden) rooms.forEach((room) => room.hurry());
	show("lines");
});
addEventListener("pagehide", () => {
	composer.keep();
	save();
	rooms.forEach((room) => room.session.suspend());
});
addEventListener("pageshow", ({ persisted }) => {
	if (persisted) rooms.forEach((room) => room.session.resume());
});
onOthers(() => {
	openJoined();
	show("lines", "rooms");
});

showPicture(memory.picture !== false);
legend();
route();
void readRooms();
setInterval(() => {
	if (!document.hidden) void readRooms();
}, ROOMS_EVERY);
openJoined();

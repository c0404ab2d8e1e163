// The picture beside the chat: the diagram of the room that is shown, its tools, and what there is to say of a chosen message.

import { h } from "../lib/element.js";
import { shapePath, svg } from "../lib/shapes.js";
import { flat, words } from "../lib/text.js";
import { shiviz } from "../log/causality.js";
import { page, paints, show } from "../page.js";
import { choose, emit, hover, on, state } from "../state.js";
import { Diagram } from "./diagram.js";
import { compare, inspect, table } from "./inspector.js";

/** @typedef {import("../log/causality.js").DiagramEvent} DiagramEvent */

/** Number of events by which the window grows when earlier ones are asked for. */
const WINDOW_STEP = 60;
/** The time, in milliseconds, until what is said about a chosen message has taken its room. */
const LAID_OUT = 50;

/** True when the picture stops at the next message that is held, and tells why: where the address asks for it. */
let stopsAtHold = new URLSearchParams(location.search).has("hold");

export const diagram = new Diagram({
	head: page.diagramHead,
	scroller: page.diagram,
	name: (member) => flat(state.current?.nameOf(member) ?? member),
	onHover: hover,
	onSelect: choose,
});

/** Returns the events that are drawn. @param {DiagramEvent[]} events */
const pictured = (events) => (page.arrivals.checked ? events : events.filter(({ observed }) => !observed));

/** Draws what happened next. @param {DiagramEvent[]} events */
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
	state.selected = [];
	choose(drawn[hold].id, false, drawn[hold].at);
}

function showDetails() {
	const room = state.current;
	if (!room) return;
	const jump = (/** @type {string} */ id, /** @type {string | undefined} */ at) => {
		state.selected = [];
		choose(id, false, at ?? null);
		if (at === undefined) emit("go", id, undefined);
	};
	const [a, b] = state.selected;
	if (a === undefined) {
		page.details.replaceChildren(h("p", { class: "hint" },
			"Point at a message to see what is causally before it, and after it; what fades is concurrent with it. Click where it was sent, received or delivered, for the rule there; click another with Shift to compare them."));
		return;
	}
	const close = h("button", { type: "button", class: "close", "aria-label": "Close", click: () => choose(null, false) }, "✕");
	try {
		if (b === undefined) page.details.replaceChildren(close, ...inspect(room, { id: a, at: state.selectedAt }, jump));
		else page.details.replaceChildren(close, ...compare(room, a, b, jump));
	} catch (error) {
		// What was chosen is gone, as after another room has taken this one's name.
		page.details.replaceChildren(close, h("p", {}, words(error)));
	}
}

function setCauses() {
	const room = state.current;
	if (!room) return;
	diagram.setCauses((id) => {
		const record = room.record(id);
		if (!record) return [];
		if (!page.allArrows.checked) return record.deps;
		const [author] = id.split("#");
		return [...room.history.vector(id)].filter(([member]) => member !== author).map(([member, { count }]) => `${member}#${count}`);
	});
}

function showTools() {
	const { current } = state;
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
		page.diagramTable.replaceChildren(table(current, diagram.visible(), (id, at) => choose(id, false, at)));
	}
}

paints("details", showDetails);
paints("table", showTools);

on("room", (room) => {
	diagram.setEvents(pictured(room.events));
	setCauses();
	diagram.follow();
	show("details", "table");
});
on("selected", (id, at) => {
	diagram.setSelected(state.selected, state.selectedAt);
	if (id) setTimeout(() => diagram.reveal(id, at), LAID_OUT);
	show("details");
});
on("lines", ({ events, reworded }) => {
	const room = state.current;
	if (room && reworded.size > 0) diagram.relabel(reworded, (id) => room.label(id));
	draw(events);
	show("details", "table");
});
on("older", (events) => {
	diagram.prepend(events);
	show("details", "table");
});
on("held", (events) => {
	draw(events);
	show("details", "table");
});
on("reset", () => {
	choose(null, false);
	diagram.setEvents([]);
});
on("members", () => diagram.redraw());

// --- tools ------------------------------------------------------------------------------------------------------

page.follow.addEventListener("click", () => {
	if (diagram.pausedAt === null) diagram.pause();
	else diagram.follow();
	show("table");
});

/** Goes on by some events, or back. @param {number} by */
function step(by) {
	diagram.step(by);
	show("table");
}
page.back.addEventListener("click", () => step(-1));
page.forward.addEventListener("click", () => step(1));
page.picture.addEventListener("keydown", (event) => {
	const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
	if (by === undefined || event.defaultPrevented || (event.target instanceof Element && event.target.closest("select, input"))) return;
	event.preventDefault();
	step(by);
});
page.window.addEventListener("change", () => {
	diagram.setWindow(Number(page.window.value));
	diagram.following.atEnd = true;
	show("table");
});
page.allArrows.addEventListener("change", setCauses);
page.arrivals.addEventListener("change", () => {
	diagram.setEvents(pictured(state.current?.events ?? []));
	diagram.follow();
	show("table");
});
page.folded.addEventListener("click", async () => {
	diagram.following.atEnd = false;
	diagram.setWindow(diagram.window + WINDOW_STEP);
	if (diagram.folded.before === 0) await state.current?.readOlder().catch(() => false);
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
 * Hands a file to the reader.
 * @param {string} name
 * @param {string} type
 * @param {string} content
 */
function download(name, type, content) {
	const url = URL.createObjectURL(new Blob([content], { type }));
	h("a", { href: url, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

page.exportSvg.addEventListener("click", () => {
	const { current } = state;
	if (current) download(`${current.name}.svg`, "image/svg+xml", diagram.toSvg());
});
page.exportShiviz.addEventListener("click", () => {
	const room = state.current;
	if (!room) return;
	const shown = diagram.visible().flatMap(({ kind, id }) => (kind === "send" ? room.history.get(id) ?? [] : []));
	const text = shiviz(shown, (member) => room.nameOf(member), ({ id }) => room.words(id));
	download(`${room.name}.log`, "text/plain", text);
});

function showLegend() {
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
showLegend();

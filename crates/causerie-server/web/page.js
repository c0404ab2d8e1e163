// The parts of the page's document, and when they are shown anew.

import { byId } from "./lib/element.js";
import { memory, save } from "./lib/memory.js";

export const page = {
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
	picture: byId("picture", HTMLElement),
	pictureButton: byId("picture-button", HTMLButtonElement),
	pictureClose: byId("picture-close", HTMLButtonElement),
	follow: byId("follow", HTMLButtonElement),
	back: byId("back", HTMLButtonElement),
	forward: byId("forward", HTMLButtonElement),
	window: byId("window", HTMLSelectElement),
	allArrows: byId("all-arrows", HTMLInputElement),
	arrivals: byId("arrivals", HTMLInputElement),
	tableButton: byId("table-button", HTMLButtonElement),
	exportSvg: byId("export-svg", HTMLButtonElement),
	exportShiviz: byId("export-shiviz", HTMLButtonElement),
	folded: byId("folded", HTMLButtonElement),
	foldedAfter: byId("unfolded-after", HTMLElement),
	diagramHead: byId("diagram-head", HTMLElement),
	diagram: byId("diagram", HTMLElement),
	diagramTable: byId("diagram-table", HTMLElement),
	legend: byId("legend", HTMLElement),
	details: byId("details", HTMLElement),
	announcer: byId("announcer", HTMLElement),
	picker: byId("picker", HTMLElement),
	skip: byId("skip", HTMLAnchorElement),
};

/** @typedef {"lines" | "rooms" | "details" | "table"} Part of what is shown */

/** @type {Map<Part, () => void>} */
const painters = new Map();
/** @type {Set<Part>} parts that are shown anew with the browser's next picture */
const stale = new Set();
let scheduled = false;

/** Sets the function that shows a part. @param {Part} part @param {() => void} paint */
export function paints(part, paint) {
	painters.set(part, paint);
}

/** Shows parts anew when the browser shows its next picture. @param {Part[]} parts */
export function show(...parts) {
	for (const part of parts) stale.add(part);
	if (scheduled) return;
	scheduled = true;
	// A page that is not seen gets no frames, and counts what is unread all the same.
	if (document.hidden) setTimeout(showNow, 200);
	else requestAnimationFrame(showNow);
}

function showNow() {
	scheduled = false;
	const parts = new Set(stale);
	stale.clear();
	// The list of rooms counts what is unread in the lines, and the picture's table has their words.
	if (parts.has("lines")) parts.add("rooms").add("table");
	for (const part of /** @type {Part[]} */ (["lines", "rooms", "details", "table"])) if (parts.has(part)) painters.get(part)?.();
}

/** Shows one part of the page where there is room for one only, as on a small screen. @param {string} name */
export function pane(name) {
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

/** Opens the picture, or closes it; it stays so. @param {boolean} isOpen */
export function showPicture(isOpen) {
	document.body.classList.toggle("no-picture", !isOpen);
	page.pictureButton.setAttribute("aria-expanded", String(isOpen));
	if ((memory.picture !== false) === isOpen) return;
	memory.picture = isOpen;
	save();
}
page.pictureButton.addEventListener("click", () => showPicture(document.body.classList.contains("no-picture")));
page.pictureClose.addEventListener("click", () => {
	showPicture(false);
	page.pictureButton.focus();
});

/** Opens and closes a panel by its button. @param {HTMLButtonElement} button @param {HTMLElement} panel */
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

// The lab: a form for what is to happen, and the run in two pictures, in causal order and as the messages arrived.

import { byId, h } from "../lib/element.js";
import { lookOf, svg } from "../lib/shapes.js";
import { words } from "../lib/text.js";
import { Diagram } from "../picture/diagram.js";
import { compare, inspect, table } from "../picture/inspector.js";
import { Run, nameOf } from "./run.js";

/** @typedef {{[name: string]: string}} Plan as it stands in the address */
/** @typedef {import("./run.js").Order} Order */

/** @type {Plan} */
const DEFAULTS = { seed: "1", members: "4", messages: "30", pace: "100", delay: "20..200", loss: "0", dup: "0", reorder: "100", repair: "1", say: "", slow: "", cut: "" };
const PRESETS = [
	{
		name: "1. Three send at once", plan: "members=3&delay=100..100&repair=0&say=1@0,2@10,3@20",
		words: "Nobody had delivered the others’ messages before sending: they are concurrent. Each member delivers them in another order, and all are right: nothing is held.",
	},
	{
		name: "2. An answer overtakes its question", plan: "members=3&delay=100..100&repair=0&say=1@0,2@200&slow=0..5000:1-3:900",
		words: "The link from Ann to Cleo takes 900 ms. Bob’s answer is received there at 300 ms, before Ann’s question, which is causally before it: it is held until the question has been delivered.",
	},
	{
		name: "3. One’s own words overtake each other", plan: "members=3&delay=100..100&repair=0&say=1@0,1@100&slow=0..50:1-3:900",
		words: "Ann’s first message takes 900 ms to Cleo, and her second overtakes it. A sender’s messages are causally ordered: the second is held.",
	},
	{
		name: "4. What is missing is asked for", plan: "members=3&delay=100..100&say=1@0,2@200&slow=0..5000:1-3:900",
		words: "The second exercise with repair: Cleo knows exactly what is missing, asks for it after 50 ms, and is sent it again, long before the slow copy arrives.",
	},
	{
		name: "5. A network falls in two", plan: "members=4&messages=24&pace=120&cut=500..2500:1%2B2&seed=7",
		words: "Ann and Bob are cut off from Cleo and Dan, and all go on talking. When the cut has healed, what was missed is sent again, and delivered after its causes.",
	},
	{
		name: "6. Bad weather", plan: "members=5&messages=40&pace=60&delay=10..900&loss=15&dup=5&seed=3",
		words: "Packets are lost, come twice, and overtake each other all the time. What is missing is asked for, and sent again.",
	},
];
/** Time between two events of a run that plays, in milliseconds. */
const PLAY_EVERY = 500;
/** End of what may be scripted, in simulated milliseconds. */
const END = 60_000;
const LANE = 14;

const page = {
	state: byId("state", HTMLElement),
	own: byId("own", HTMLDetailsElement),
	plan: byId("plan", HTMLFormElement),
	presets: byId("presets", HTMLUListElement),
	exercise: byId("exercise", HTMLElement),
	cuts: byId("cuts", HTMLElement),
	problem: byId("problem", HTMLElement),
	outcome: byId("outcome", HTMLElement),
	play: byId("play", HTMLButtonElement),
	at: byId("at", HTMLInputElement),
	clock: byId("clock", HTMLOutputElement),
	view: byId("view", HTMLElement),
	window: byId("window", HTMLSelectElement),
	arrows: byId("arrows", HTMLInputElement),
	tableButton: byId("table-button", HTMLButtonElement),
	details: byId("details", HTMLElement),
};

/** @type {Run | null} */
let run = null;
/** Number of its events that are shown. */
let at = 0;
/** @type {string[]} up to two messages */
let selected = [];
/** @type {{at: string | null, order: Order}} the member and the picture in which the first was chosen */
let chosen = { at: null, order: "causal" };
/** @type {ReturnType<typeof setInterval> | undefined} */
let playing;

// --- what is to happen ------------------------------------------------------------------------------------------

/** @param {string} name */
function field(name) {
	const input = page.plan.elements.namedItem(name);
	if (!(input instanceof HTMLInputElement || input instanceof HTMLSelectElement)) throw new Error(`there is no field ${name}`);
	return input;
}

/** Returns a plan in full, of what stands behind a question mark. @param {string} query @returns {Plan} */
function planOf(query) {
	const asked = new URLSearchParams(query);
	return { ...DEFAULTS, ...Object.fromEntries(asked) };
}

/** @param {Plan} plan */
function queryOf(plan) {
	const given = Object.entries(plan).filter(([name, value]) => value !== "" || !(name in DEFAULTS));
	// What may stand there as it is stays readable.
	return given.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value).replace(/%(40|2C|3A)/gu, decodeURIComponent)}`).join("&");
}

/** @param {Plan} plan */
function fill(plan) {
	const { delay, ...others } = plan;
	for (const [name, value] of Object.entries(others)) if (name in DEFAULTS) field(name).value = value;
	[field("delay-min").value, field("delay-max").value] = delay.split("..");
}

/** @returns {Plan} */
function read() {
	const values = Object.keys(DEFAULTS).map((name) => [name, name === "delay"
		? `${field("delay-min").value}..${field("delay-max").value}` : field(name).value.replace(/\s/gu, "")]);
	return Object.fromEntries(values);
}

/** Goes to this plan, and runs it. @param {Plan} plan */
function go(plan) {
	const query = queryOf(plan);
	if (`?${query}` !== location.search) history.pushState(null, "", `?${query}`);
	void start();
}

let turn = 0;

/** Runs the plan that the address has. */
async function start() {
	const plan = planOf(location.search);
	const query = queryOf(plan);
	const mine = (turn += 1);
	pause();
	fill(plan);
	page.problem.textContent = "";
	page.state.textContent = "running…";
	const preset = PRESETS.find((preset) => queryOf(planOf(preset.plan)) === query);
	for (const link of page.presets.querySelectorAll("a")) {
		if (link.textContent === preset?.name) link.setAttribute("aria-current", "true");
		else link.removeAttribute("aria-current");
	}
	page.exercise.textContent = preset?.words ?? "";
	if (!preset) page.own.open = true;
	try {
		const answer = await fetch(`api/lab?${query}`);
		const text = await answer.text();
		if (mine !== turn) return;
		if (!answer.ok) throw new Error(JSON.parse(text).message);
		show(new Run(text), preset !== undefined);
	} catch (error) {
		if (mine !== turn) return;
		page.problem.textContent = words(error);
	}
	page.state.textContent = "";
}

page.presets.append(...PRESETS.map(({ name, plan }) => h("li", {}, h("a", { href: `lab?${queryOf(planOf(plan))}`, click: (event) => {
	event.preventDefault();
	go(planOf(plan));
} }, name))));

page.plan.addEventListener("submit", (event) => {
	event.preventDefault();
	go(read());
});
byId("another", HTMLButtonElement).addEventListener("click", () => {
	field("seed").value = String(Math.floor(Math.random() * 1_000_000));
	if (page.plan.reportValidity()) go(read());
});
addEventListener("popstate", () => void start());

// --- the pictures -----------------------------------------------------------------------------------------------

/** @param {Order} order */
function picture(order) {
	const section = document.querySelector(`[data-order="${order}"]`);
	const part = (/** @type {string} */ name) => {
		const element = section?.querySelector(`.${name}`);
		if (!(element instanceof HTMLElement)) throw new Error(`.${name} is not in the page`);
		return element;
	};
	const diagram = new Diagram({
		head: part("heads"), scroller: part("scroller"), name: nameOf, members: () => run?.members ?? [],
		onHover: (id) => light(id), onSelect: (id, both, at) => select(id, both, at, order), times: true,
	});
	diagram.window = Number(page.window.value);
	return { order, diagram, verdict: part("verdict"), heads: part("heads"), scroller: part("scroller"), rows: part("tabled") };
}

const pictures = { causal: picture("causal"), arrival: picture("arrival") };
const both = Object.values(pictures);

/**
 * @param {Run} next
 * @param {boolean} atHold it begins at the first message that is held, with the reason
 */
function show(next, atHold) {
	run = next;
	selected = [];
	pictures.causal.diagram.setEvents(run.causal);
	pictures.arrival.diagram.setEvents(run.arrival);
	setCauses();
	const { messages, deliveries, held, lost, cut_off, came_twice, resent } = run.outcome;
	const last = run.times.at(-1) ?? 0;
	page.outcome.textContent = `${messages} messages, ${deliveries} deliveries, ${held} held; ${lost + cut_off} packets lost, `
		+ `${came_twice} came twice, ${resent} messages sent again; all are delivered after ${last} ms`;
	page.at.max = String(run.causal.length);
	drawCuts();
	const hold = atHold ? run.causal.findIndex(({ kind }) => kind === "hold") : -1;
	step(hold < 0 ? run.causal.length : hold + 1);
	if (hold < 0) light(null);
	else select(run.causal[hold].id, false, run.causal[hold].at, "causal");
}

function setCauses() {
	for (const { diagram } of both) {
		diagram.setCauses((id) => (page.arrows.checked ? run?.records.get(id)?.deps ?? [] : []));
	}
}

/** Shows the run up to so many events. @param {number} to */
function step(to) {
	if (!run) return;
	at = Math.max(0, Math.min(run.causal.length, to));
	pictures.causal.diagram.pausedAt = at;
	pictures.arrival.diagram.pausedAt = run.arrivals[at];
	for (const { diagram } of both) {
		diagram.following.atEnd = true;
		diagram.schedule();
	}
	page.at.value = String(at);
	page.clock.textContent = `${at} of ${run.causal.length}, ${run.times[at - 1] ?? 0} ms`;
	const held = run.causal.slice(0, at).filter(({ kind }) => kind === "hold").length;
	const wrong = run.anomalies.filter((place) => place < (run?.arrivals[at] ?? 0)).length;
	page.cuts.querySelector(".now")?.setAttribute("transform", `translate(${x(run.times[at - 1] ?? 0)} 0)`);
	tell(pictures.causal.verdict, 0, `, ${held} held`);
	tell(pictures.arrival.verdict, wrong, "");
	showTables();
	showDetails();
}

/**
 * @param {HTMLElement} element
 * @param {number} wrong
 * @param {string} words
 */
function tell(element, wrong, words) {
	element.textContent = `${wrong} delivered before ${wrong === 1 ? "its cause" : "their causes"}${words}`;
	element.classList.toggle("bad", wrong > 0);
}

function showTables() {
	if (!run || page.tableButton.getAttribute("aria-pressed") !== "true") return;
	for (const { order, diagram, rows } of both) {
		rows.replaceChildren(table(run.in(order), diagram.visible(), (id, there) => select(id, false, there ?? null, order)));
	}
}

/** @param {string | null} hovered */
function light(hovered) {
	const focus = hovered ?? (selected.length === 1 ? selected[0] : null);
	const cones = focus && run?.history.get(focus) ? { focus: new Set([focus]), past: run.history.past(focus), future: run.history.future(focus) } : null;
	for (const { diagram } of both) {
		diagram.setSelected(selected, chosen.at);
		diagram.setCones(cones);
	}
}

/**
 * @param {string | null} id
 * @param {boolean} beside what is chosen already
 * @param {string | null} [at] the member at which it is chosen
 * @param {Order} [order]
 */
function select(id, beside, at = null, order = "causal") {
	if (id === null) selected = [];
	else if (beside && selected.length > 0 && !selected.includes(id)) selected = [selected[0], id];
	else [selected, chosen] = [[id], { at, order }];
	light(null);
	showDetails();
}

function showDetails() {
	if (!run) return;
	const [a, b] = selected;
	const { order, at } = chosen;
	const choose = (/** @type {string} */ id, /** @type {string | undefined} */ there) => {
		selected = [];
		select(id, false, there ?? null, order);
		pictures[order].diagram.reveal(id, there);
	};
	if (a === undefined) {
		page.details.replaceChildren(h("p", { class: "hint" },
			"Point at a message to see what is causally before it, and after it; what fades is concurrent with it. Click where it was sent, received or delivered, for the rule there; click another with Shift to compare them."));
		return;
	}
	const close = h("button", { type: "button", class: "close", "aria-label": "Close", click: () => select(null, false) }, "✕");
	const shown = run.in(order);
	page.details.replaceChildren(close, ...(b === undefined ? inspect(shown, { id: a, at }, choose) : compare(shown, a, b, choose)));
}

// --- step and rewind --------------------------------------------------------------------------------------------

function pause() {
	clearInterval(playing);
	playing = undefined;
	page.play.textContent = "Play";
}

page.play.addEventListener("click", () => {
	if (playing !== undefined) {
		pause();
		return;
	}
	if (at === run?.causal.length) step(0);
	page.play.textContent = "Pause";
	playing = setInterval(() => {
		step(at + 1);
		if (at === run?.causal.length) pause();
	}, PLAY_EVERY);
});

/** @param {string} id @param {() => number} to */
function button(id, to) {
	byId(id, HTMLButtonElement).addEventListener("click", () => {
		pause();
		step(to());
	});
}
button("rewind", () => 0);
button("back", () => at - 1);
button("forward", () => at + 1);
button("end", () => run?.causal.length ?? 0);
addEventListener("keydown", (event) => {
	const { key, target } = event;
	const isTaken = event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey
		|| (target instanceof Element && target.closest("input, select, textarea, [role=button]"));
	const to = { ArrowLeft: at - 1, ArrowRight: at + 1 }[key];
	if (isTaken || to === undefined) return;
	event.preventDefault();
	pause();
	step(to);
});
page.at.addEventListener("input", () => {
	pause();
	step(Number(page.at.value));
});
page.view.addEventListener("change", (event) => {
	if (event.target instanceof HTMLInputElement) document.body.dataset.view = event.target.value;
});
page.window.addEventListener("change", () => {
	for (const { diagram } of both) diagram.setWindow(Number(page.window.value));
	showTables();
});
page.arrows.addEventListener("change", setCauses);
page.tableButton.addEventListener("click", () => {
	const on = page.tableButton.getAttribute("aria-pressed") !== "true";
	page.tableButton.setAttribute("aria-pressed", String(on));
	for (const { heads, scroller, rows } of both) {
		heads.hidden = scroller.hidden = on;
		rows.hidden = !on;
	}
	showTables();
});

// --- partitions by mouse ----------------------------------------------------------------------------------------

/** Width of the drawing in simulated milliseconds. */
let span = 1_000;
let width = 280;
const LEFT = 38;
const x = (/** @type {number} */ time) => LEFT + (time / span) * (width - LEFT);

/** @typedef {{from: number, to: number, members: number[]}} Cut */

/** @returns {Cut[]} */
function cuts() {
	return field("cut").value.split(",").flatMap((item) => {
		const [, from, to, members] = /^(\d+)\.\.(\d+):([\d+]+)$/u.exec(item) ?? [];
		return members === undefined ? [] : [{ from: Number(from), to: Number(to), members: members.split("+").map(Number) }];
	});
}

/** @param {Cut[]} next */
function setCuts(next) {
	field("cut").value = next.map(({ from, to, members }) => `${from}..${to}:${members.join("+")}`).join(",");
	// What is cut off comes only if it is asked for.
	if (next.length > 0) field("repair").value = "1";
	if (page.plan.reportValidity()) go(read());
}

function drawCuts() {
	if (!run) return;
	const last = run.times.at(-1) ?? 0;
	span = Math.min(END, Math.max(1_000, last, ...cuts().map(({ to }) => to)) * 1.1);
	width = page.cuts.clientWidth - 2 * parseFloat(getComputedStyle(page.cuts).paddingLeft);
	const height = run.members.length * LANE + 14;
	const lanes = run.members.flatMap((member, lane) => {
		const y = (lane + 0.5) * LANE;
		const line = svg("line", { class: `lane hue-${lookOf(member).hue}`, x1: LEFT, x2: width, y1: y, y2: y });
		return [svg("text", { x: 2, y: y + 3 }, nameOf(member)), line];
	});
	const sent = run.causal.flatMap(({ kind, at: member }, i) => {
		const y = ((run?.members.indexOf(member) ?? 0) + 0.5) * LANE;
		return kind === "send" ? [svg("circle", { class: `said hue-${lookOf(member).hue}`, cx: x(run?.times[i] ?? 0), cy: y, r: 3 })] : [];
	});
	const areas = cuts().flatMap(({ from, to, members }, n) => members.map((member) => {
		const area = svg("rect", { class: "cut", x: x(from), width: Math.max(2, x(to) - x(from)), y: (member - 1) * LANE + 1, height: LANE - 2 },
			svg("title", {}, `cut off from ${from} to ${to} ms: a click heals it`));
		area.addEventListener("pointerdown", (event) => event.stopPropagation());
		area.addEventListener("click", () => setCuts(cuts().filter((_, i) => i !== n)));
		return area;
	}));
	const now = svg("line", { class: "now", x1: 0, x2: 0, y1: 0, y2: height, transform: `translate(${x(run.times[at - 1] ?? 0)} 0)` });
	const end = svg("text", { x: width - 2, y: height - 4, "text-anchor": "end" }, `${(span / 1000).toFixed(1)} s`);
	const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Who said something when, and what was cut off" },
		...lanes, ...sent, ...areas, now, end);
	picture.addEventListener("pointerdown", (event) => draw(picture, event));
	page.cuts.replaceChildren(picture);
}
new ResizeObserver(drawCuts).observe(page.cuts);

/**
 * Draws a partition, until the button is let go.
 * @param {SVGElement} picture
 * @param {PointerEvent} first
 */
function draw(picture, first) {
	if (first.button !== 0 || !run) return;
	const count = run.members.length;
	const place = (/** @type {PointerEvent} */ { clientX, clientY }) => {
		const { left, top } = picture.getBoundingClientRect();
		const time = ((clientX - left - LEFT) / (width - LEFT)) * span;
		return { time: Math.round(Math.max(0, Math.min(END - 20, time)) / 10) * 10, lane: Math.max(0, Math.min(count - 1, Math.floor((clientY - top) / LANE))) };
	};
	const begin = place(first);
	/** @type {Cut | null} */
	let cut = null;
	const area = svg("rect", { class: "cut" });
	picture.append(area);
	picture.setPointerCapture(first.pointerId);
	const move = (/** @type {PointerEvent} */ event) => {
		const end = place(event);
		const [from, to] = [Math.min(begin.time, end.time), Math.max(begin.time, end.time)];
		const [top, bottom] = [Math.min(begin.lane, end.lane), Math.max(begin.lane, end.lane)];
		const members = Array.from({ length: bottom - top + 1 }, (_, i) => top + i + 1);
		cut = to > from ? { from, to, members } : null;
		for (const [name, value] of Object.entries({ x: x(from), width: x(to) - x(from), y: top * LANE + 1, height: members.length * LANE - 2 })) {
			area.setAttribute(name, String(value));
		}
	};
	const done = () => {
		picture.removeEventListener("pointermove", move);
		area.remove();
		if (cut) setCuts([...cuts(), cut]);
	};
	picture.addEventListener("pointermove", move);
	picture.addEventListener("pointerup", done, { once: true });
	picture.addEventListener("pointercancel", () => {
		cut = null;
		done();
	}, { once: true });
}

if (!location.search) history.replaceState(null, "", `?${queryOf(planOf(PRESETS[1].plan))}`);
void start();

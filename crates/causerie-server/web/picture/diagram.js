// The space-time diagram: a column for each member, the newest at the bottom. It is given events and draws them; it
// knows nothing of rooms or servers. A row is an event, in the order in which the events came, and nothing else moves it.

import { compareMembers, parseId } from "../log/causality.js";
import { Following } from "../lib/following.js";
import { SVG, lookOf, shapePath, svg } from "../lib/shapes.js";

/** @typedef {import("../log/causality.js").DiagramEvent} DiagramEvent */
/** @typedef {DiagramEvent & {row: number}} PlacedEvent an event with its row; those before the first have rows below zero */

/**
 * @typedef {object} DiagramOptions
 * @property {HTMLElement} head where the members' names go
 * @property {HTMLElement} scroller where the picture goes; it scrolls
 * @property {(member: string) => string} name
 * @property {() => string[]} [members] who has a column at all times
 * @property {(id: string | null) => void} onHover
 * @property {(id: string, both: boolean, at: string) => void} onSelect `both`: beside what is selected already; `at`: the
 *   member whose event was chosen
 * @property {boolean} [times] marks are times, in milliseconds
 */

/** @typedef {{focus: Set<string>, past: ReadonlySet<string>, future: ReadonlySet<string>}} Cones */

const ROW = 28;
const RADIUS = 6.5;
/** Radius of a delivery's dot. */
const SMALL = 4;
const GUTTER = 46;

/** Returns the part of a dot that the keyboard reaches. @param {SVGElement} group */
const buttonOf = (group) => /** @type {SVGElement | null} */ (group.querySelector("[role=button]"));

/** A space-time diagram. */
export class Diagram {
	/** @param {DiagramOptions} options */
	constructor(options) {
		this.options = options;
		/** @type {PlacedEvent[]} */
		this.events = [];
		this.nextRow = 0;
		/** @type {Map<string, PlacedEvent>} */
		this.sends = new Map();
		/** @type {Map<string, PlacedEvent>} "member id" → the event with which it was held there no longer, or was sent */
		this.ends = new Map();
		/** @type {Set<string>} "member id" of messages that were held there */
		this.held = new Set();
		/** Number of the last events that are drawn. */
		this.window = 60;
		/** @type {number | null} the row before which time stands still */
		this.pausedAt = null;
		/** @type {string[]} */
		this.selected = [];
		/** @type {string | null} the member whose event is selected */
		this.selectedAt = null;
		/** @type {Cones | null} */
		this.cones = null;
		/** @type {(id: string) => string[]} Returns the messages from which arrows to this one come */
		this.causes = (id) => this.sends.get(id)?.causes ?? [];
		/** @type {string[]} */
		this.columns = [];
		this.columnWidth = 0;
		this.room = 0;
		/** @type {Map<number, SVGElement>} */
		this.dots = new Map();
		/** @type {Map<number, SVGElement>} */
		this.edges = new Map();
		/** @type {Map<number, SVGElement>} areas behind the lines, so that a whole row is easy to hit */
		this.rows = new Map();
		/** @type {number | null} the row in which the keyboard is */
		this.cursor = null;
		this.scheduled = false;
		this.following = new Following(options.scroller, ROW);

		const marker = (/** @type {string} */ id) =>
			svg("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
				svg("path", { d: "M0 0.8L8 4L0 7.2Z", class: id }));
		this.life = svg("g", { class: "life" });
		this.edgeLayer = svg("g", { class: "edges" });
		this.dotLayer = svg("g", { class: "dots" });
		this.rowLayer = svg("g", { class: "rows" });
		this.shift = svg("g", {}, this.edgeLayer, this.dotLayer);
		this.root = svg("svg", { class: "picture", role: "group", "aria-label": "Space-time diagram: arrow keys move between messages" },
			svg("defs", {}, marker("arrow"), marker("arrow-lit")), this.rowLayer, this.life, this.shift);
		options.scroller.append(this.root);
		options.scroller.addEventListener("scroll", () => {
			options.head.scrollLeft = options.scroller.scrollLeft;
		}, { passive: true });
		new ResizeObserver(() => this.schedule()).observe(options.scroller);
		this.#listen();
	}

	#listen() {
		const placedAt = (/** @type {Event} */ event) => {
			const group = event.target instanceof Element ? event.target.closest("[data-row]") : null;
			return group instanceof SVGElement ? this.#placed(Number(group.dataset.row)) : undefined;
		};
		const idOf = (/** @type {Event} */ event) => placedAt(event)?.id ?? null;
		const { root } = this;
		root.addEventListener("pointerover", (event) => this.options.onHover(idOf(event)));
		root.addEventListener("pointerleave", () => this.options.onHover(null));
		root.addEventListener("focusin", (event) => this.options.onHover(idOf(event)));
		root.addEventListener("focusout", () => this.options.onHover(null));
		root.addEventListener("click", (event) => {
			const placed = placedAt(event);
			if (placed) this.options.onSelect(placed.id, event.shiftKey || event.ctrlKey || event.metaKey, placed.at);
		});
		root.addEventListener("keydown", (event) => {
			const placed = placedAt(event);
			if (!placed) return;
			if (event.key === "Enter" || event.key === " ") this.options.onSelect(placed.id, event.shiftKey, placed.at);
			else {
				const to = this.#neighbour(placed, event.key);
				if (to === null) return;
				if (to !== placed) this.#focus(to);
			}
			event.preventDefault();
		});
	}

	/**
	 * Returns the event that a key leads to: up and down in time; left to where it was sent, or to the first cause; right to the first effect.
	 * @param {PlacedEvent} event
	 * @param {string} key
	 * @returns {PlacedEvent | null} null: not a key of ours
	 */
	#neighbour(event, key) {
		const shown = this.visible();
		const index = shown.indexOf(event);
		const sent = (/** @type {string} */ id) => shown.find((other) => other.kind === "send" && other.id === id);
		switch (key) {
			case "ArrowUp": return shown[Math.max(0, index - 1)];
			case "ArrowDown": return shown[Math.min(shown.length - 1, index + 1)];
			case "Home": return shown[0];
			case "End": return shown[shown.length - 1];
			case "ArrowLeft": return (event.kind === "send" ? this.causes(event.id).map(sent).find(Boolean) : sent(event.id)) ?? event;
			case "ArrowRight": return shown.find(({ kind, id }) => kind === "send" && this.causes(id).includes(event.id)) ?? event;
			default: return null;
		}
	}

	/** @param {PlacedEvent} event */
	#focus({ row }) {
		this.cursor = row;
		this.#tabStop();
		const group = this.dots.get(row);
		if (!group) return;
		buttonOf(group)?.focus({ preventScroll: true });
		this.#revealRow(row);
	}

	/** Returns the event in this row. @param {number} row */
	#placed(row) {
		return this.events.at(row - this.#first);
	}

	/** Lets Tab reach one dot: where the keyboard was, or the last that was sent. */
	#tabStop() {
		const shown = this.visible();
		if (!shown.some(({ row }) => row === this.cursor)) {
			this.cursor = (shown.findLast(({ kind }) => kind === "send") ?? shown.at(-1))?.row ?? null;
		}
		for (const [row, group] of this.dots) buttonOf(group)?.setAttribute("tabindex", row === this.cursor ? "0" : "-1");
	}

	/** Replaces all events. @param {DiagramEvent[]} events */
	setEvents(events) {
		this.events = [];
		this.sends.clear();
		this.ends.clear();
		this.held.clear();
		this.nextRow = 0;
		this.pausedAt = null;
		this.#clear();
		this.append(events);
	}

	/** Adds what happened before all that is here. Nothing that is drawn moves. @param {DiagramEvent[]} events */
	prepend(events) {
		const first = this.#first - events.length;
		const placed = events.map((event, i) => ({ ...event, row: first + i }));
		for (const event of placed) {
			if (event.kind === "send") this.sends.set(event.id, event);
			if (event.kind !== "hold") this.ends.set(`${event.at} ${event.id}`, event);
		}
		this.events = placed.concat(this.events);
		if (this.pausedAt !== null) this.pausedAt += placed.length;
		// Where arrows come from that had no beginning may be at hand now.
		for (const [row, group] of this.edges) {
			if (!group.querySelector(".stub")) continue;
			group.remove();
			this.edges.delete(row);
		}
		this.schedule();
	}

	/** Returns the first event's row. */
	get #first() {
		return this.events.length > 0 ? this.events[0].row : this.nextRow;
	}

	/** Adds what happened next. @param {DiagramEvent[]} events */
	append(events) {
		for (const event of events) {
			const placed = { ...event, row: this.nextRow };
			this.nextRow += 1;
			this.events.push(placed);
			const here = `${event.at} ${event.id}`;
			if (event.kind === "send") this.sends.set(event.id, placed);
			if (event.kind === "hold") this.held.add(here);
			else this.ends.set(here, placed);
		}
		this.schedule();
	}

	/** Takes other words for messages. @param {Iterable<string>} ids @param {(id: string) => string} words */
	relabel(ids, words) {
		for (const id of ids) {
			const sent = this.sends.get(id);
			if (!sent) continue;
			sent.label = words(id);
			this.dots.get(sent.row)?.remove();
			this.dots.delete(sent.row);
			this.rows.get(sent.row)?.remove();
		}
		this.schedule();
	}

	/** Returns the beginning and the end of what is drawn. */
	#range() {
		const end = this.pausedAt ?? this.events.length;
		return { start: Math.max(0, end - this.window), end };
	}

	/** @returns {PlacedEvent[]} */
	visible() {
		const { start, end } = this.#range();
		return this.events.slice(start, end);
	}

	/** Returns the number of events that are not drawn: before, and after. */
	get folded() {
		const { start, end } = this.#range();
		return { before: start, after: this.events.length - end };
	}

	pause() {
		this.pausedAt = this.events.length;
		this.schedule();
	}

	/** @param {number} by how many events, back if negative */
	step(by) {
		const at = this.pausedAt ?? this.events.length;
		this.pausedAt = Math.max(Math.min(1, this.events.length), Math.min(this.events.length, at + by));
		this.following.atEnd = true;
		this.schedule();
	}

	follow() {
		this.pausedAt = null;
		this.following.atEnd = true;
		this.schedule();
	}

	/** @param {number} window */
	setWindow(window) {
		this.window = window;
		this.schedule();
	}

	/** @param {(id: string) => string[]} causes */
	setCauses(causes) {
		this.causes = causes;
		this.redraw();
	}

	redraw() {
		this.#clear();
		this.schedule();
	}

	#clear() {
		this.dots.clear();
		this.edges.clear();
		this.rows.clear();
		this.rowLayer.replaceChildren();
		this.dotLayer.replaceChildren();
		this.edgeLayer.replaceChildren();
		this.columns = [];
	}

	schedule() {
		if (this.scheduled) return;
		this.scheduled = true;
		requestAnimationFrame(() => {
			this.scheduled = false;
			this.draw();
		});
	}

	/** @param {string} member */
	#x(member) {
		return GUTTER + (this.columns.indexOf(member) + 0.5) * this.columnWidth;
	}

	draw() {
		const { scroller } = this.options;
		// Asked for once, before anything changes: each later question would lay the page out again.
		const { clientWidth } = scroller;
		if (clientWidth === 0) return;
		const first = this.#first;
		const [start, end] = [first + this.#range().start, first + this.#range().end];
		const shown = this.visible();
		this.#layColumns(shown, clientWidth - GUTTER);
		const wanted = new Set(shown.map(({ row }) => row));
		for (const layer of [this.dots, this.edges, this.rows]) {
			for (const [row, group] of layer) {
				if (wanted.has(row)) continue;
				group.remove();
				layer.delete(row);
			}
		}
		let next = this.dotLayer.firstElementChild;
		for (const event of shown) {
			// A hold's line grows, and what it ends at may have been folded away or shown again.
			if (event.kind === "hold") this.edges.get(event.row)?.remove();
			if (event.kind === "hold" || !this.edges.has(event.row)) {
				const group = svg("g", {}, ...this.#edgesOf(event, end));
				this.edges.set(event.row, group);
				this.edgeLayer.append(group);
			}
			const known = this.dots.get(event.row);
			if (known !== undefined) next = known.nextElementSibling;
			else {
				const group = this.#dotOf(event);
				this.dots.set(event.row, group);
				// In order, for those who read it in order.
				this.dotLayer.insertBefore(group, next);
				const row = svg("rect", { class: "row", x: 0, y: event.row * ROW + ROW / 4, width: "100%", height: ROW, "data-id": event.id, "data-at": event.at, "data-row": event.row });
				this.rows.set(event.row, row);
				this.rowLayer.append(row);
			}
		}
		const height = Math.max(1, end - start) * ROW + ROW;
		const width = Math.max(clientWidth, GUTTER + this.columns.length * this.columnWidth);
		this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
		this.root.setAttribute("width", String(width));
		this.root.setAttribute("height", String(height));
		for (const layer of [this.shift, this.rowLayer]) layer.setAttribute("transform", `translate(0 ${-start * ROW})`);
		this.life.replaceChildren(...this.columns.map((member) => {
			const { hue } = lookOf(member);
			const x = this.#x(member);
			return svg("line", { class: `hue-${hue}`, x1: x, x2: x, y1: 0, y2: height });
		}));
		this.#tabStop();
		this.#light();
		if (this.following.atEnd) scroller.scrollTop = scroller.scrollHeight;
		this.following.laidOut();
	}

	/**
	 * @param {PlacedEvent[]} shown
	 * @param {number} room the width for columns and words
	 */
	#layColumns(shown, room) {
		/** @type {Set<string>} */
		const members = new Set(this.options.members?.());
		for (const event of shown) {
			members.add(event.at);
			if (event.kind !== "send") members.add(parseId(event.id).author);
			else for (const cause of this.causes(event.id)) members.add(parseId(cause).author);
		}
		const columns = [...members].sort(compareMembers);
		// Some room for the words at the right, on a phone as well.
		const width = Math.max(room > 420 ? 30 : 22, Math.min(84, Math.floor((room * 0.62) / Math.max(1, columns.length))));
		if (width === this.columnWidth && columns.join() === this.columns.join() && room === this.room) return;
		this.#clear();
		[this.columns, this.columnWidth, this.room] = [columns, width, room];
		const slanted = width < 62;
		const height = slanted ? 66 : 34;
		const head = svg("svg", { width: GUTTER + columns.length * width + 50, height, "aria-hidden": "true" });
		for (const member of columns) {
			const { hue, shape } = lookOf(member);
			const x = this.#x(member);
			const name = this.options.name(member);
			const fits = slanted ? 9 : Math.floor(width / 7.5);
			const text = [...name].length > fits ? `${[...name].slice(0, fits - 1).join("")}…` : name;
			head.append(svg("g", { class: `hue-${hue}`, transform: `translate(${x} ${height - 10})` },
				svg("title", {}, `${name} (${member})`),
				svg("path", { d: shapePath(shape, 5) }),
				svg("text", slanted ? { transform: "rotate(-45) translate(10 0)", y: 3 } : { y: -11, "text-anchor": "middle" }, text)));
		}
		this.options.head.replaceChildren(head);
		this.options.head.scrollLeft = this.options.scroller.scrollLeft;
	}

	/** @param {number} row */
	#y(row) {
		return (row + 0.75) * ROW;
	}

	/**
	 * @param {PlacedEvent} event
	 * @param {number} end the row behind the last that is drawn
	 * @returns {SVGElement[]}
	 */
	#edgesOf(event, end) {
		const x = this.#x(event.at);
		const y = this.#y(event.row);
		if (event.kind === "send") return this.causes(event.id).map((cause) => this.#arrow(cause, event.id, x, y, "cause", event.at));
		const edges = [];
		const send = this.sends.get(event.id);
		// Where it was received, and nowhere else: what was held is delivered where it is.
		const isReceived = event.kind === "hold" || (event.kind === "deliver" && !this.held.has(`${event.at} ${event.id}`));
		if (isReceived && send && send.at !== event.at && send.row < event.row) {
			edges.push(this.#arrow(event.id, event.id, x, y, event.kind === "hold" ? "arrival" : "delivery", event.at));
		}
		if (event.kind === "hold") {
			const until = this.ends.get(`${event.at} ${event.id}`);
			const ended = until !== undefined && until.row < end;
			const y2 = ended ? this.#y(until.row) : this.#y(end - 1) + ROW * 0.6;
			// Beside the column, each at another distance: what is held together is told apart.
			const away = x - 9 - 4 * Math.abs(event.row % 4);
			const back = ended ? x - SMALL - 1 : away;
			edges.push(svg("path", {
				class: `held hue-${lookOf(event.at).hue}`, "data-from": event.id, "data-to": event.id, "data-at": event.at,
				d: `M${x - RADIUS} ${y}Q${away} ${y} ${away} ${y + 10}L${away} ${ended ? y2 - 10 : Math.max(y2, y + 18)}${ended ? `Q${away} ${y2} ${back} ${y2}` : ""}`,
			}));
		}
		return edges;
	}

	/**
	 * @param {string} from a message: where it was sent
	 * @param {string} to
	 * @param {number} x
	 * @param {number} y
	 * @param {string} kind
	 * @param {string} at the member to which it leads
	 */
	#arrow(from, to, x, y, kind, at) {
		const send = this.sends.get(from);
		const { author } = parseId(from);
		const x1 = this.#x(send?.at ?? author);
		// What is not at hand was before: a stub says so.
		const y1 = send ? this.#y(send.row) : y - ROW;
		const [dx, dy] = [x - x1, y - y1];
		const length = Math.hypot(dx, dy) || 1;
		const [ux, uy] = [dx / length, dy / length];
		const near = (kind === "delivery" ? SMALL : RADIUS) + 1.5;
		const from_ = RADIUS + 1.5;
		const points = send ? [x1 + ux * from_, y1 + uy * from_] : [x - ux * Math.min(length, ROW), y - uy * Math.min(length, ROW)];
		return svg("path", {
			class: `arrow ${kind} hue-${lookOf(author).hue}${send ? "" : " stub"}`,
			d: `M${points[0].toFixed(1)} ${points[1].toFixed(1)}L${(x - ux * near).toFixed(1)} ${(y - uy * near).toFixed(1)}`,
			"marker-end": "url(#arrow)", "data-from": from, "data-to": to, "data-at": at,
		});
	}

	/**
	 * @param {PlacedEvent} event
	 * @returns {SVGElement}
	 */
	#dotOf(event) {
		const { hue } = lookOf(event.kind === "send" ? event.at : parseId(event.id).author);
		const { shape } = lookOf(parseId(event.id).author);
		const [x, y] = [this.#x(event.at), this.#y(event.row)];
		const name = this.options.name(event.at);
		const called = this.#called(event.id);
		const after = event.heldMs === undefined ? "" : ` after ${event.heldMs} ms`;
		const wasHeld = this.held.has(`${event.at} ${event.id}`);
		const words = {
			send: `${name} sends ${called}: ${event.label ?? ""}`,
			hold: `${called} is received at ${name} and held: it waits for ${this.#called(event.waitsFor ?? "")}`,
			deliver: wasHeld ? `${called} is delivered at ${name}${after || ", held until then"}` : `${called} is received and delivered at ${name}`,
			drop: `${called} is given up at ${name}`,
		}[event.kind] + (this.options.times && event.mark ? ` (${event.mark} ms)` : "");
		const group = svg("g", {
			class: `event ${event.kind}${event.quiet ? " quiet" : ""}${event.wrong ? " wrong" : ""} hue-${hue}`, "data-id": event.id, "data-at": event.at, "data-row": event.row,
		});
		const figure = svg("g", {}, svg("title", {}, words));
		group.append(figure);
		if (event.kind === "drop") {
			figure.append(svg("path", { class: "cross", d: "M-4 -4L4 4M-4 4L4 -4", transform: `translate(${x} ${y})` }));
		} else {
			const size = event.kind === "deliver" ? SMALL : event.quiet ? RADIUS * 0.62 : RADIUS;
			figure.append(svg("path", { class: "dot", d: shapePath(shape, size), transform: `translate(${x} ${y})` }));
		}
		if (event.wrong) group.append(svg("text", { class: "wrong", x: x + SMALL + 3, y: y + 4 }, "✗"));
		if (event.mark) group.append(svg("text", { class: "mark", x: GUTTER - 14, y: y + 4, "text-anchor": "end" }, event.mark));
		const right = GUTTER + this.columns.length * this.columnWidth + 6;
		const fits = Math.floor((this.room + GUTTER - right) / 6.4);
		const label = event.kind === "hold" ? `held: waits for ${this.#called(event.waitsFor ?? "")}`
			: event.kind === "deliver" && wasHeld ? `delivered${after}` : event.label;
		if (label && fits >= 8) {
			const text = [...label].length > fits ? `${[...label].slice(0, fits - 1).join("")}…` : label;
			group.append(svg("text", { class: "label", x: right, y: y + 4 }, text));
		}
		figure.setAttribute("role", "button");
		figure.setAttribute("aria-label", words);
		figure.setAttribute("tabindex", "-1");
		return group;
	}

	/** Returns a message by its author's name. @param {string} id */
	#called(id) {
		const { author, seq } = parseId(id);
		return `${this.options.name(author)}#${seq}`;
	}

	/** @param {Cones | null} cones */
	setCones(cones) {
		this.cones = cones;
		this.#light();
	}

	/**
	 * @param {string[]} ids
	 * @param {string | null} [at] the member whose event it is
	 */
	setSelected(ids, at = null) {
		[this.selected, this.selectedAt] = [ids, at];
		this.#light();
	}

	#light() {
		const { cones, selected } = this;
		const inPast = (/** @type {string} */ id) => cones !== null && (cones.focus.has(id) || cones.past.has(id));
		const inFuture = (/** @type {string} */ id) => cones !== null && (cones.focus.has(id) || cones.future.has(id));
		this.root.classList.toggle("coned", cones !== null);
		const isSelected = (/** @type {SVGElement} */ { dataset }) =>
			selected.includes(dataset.id ?? "") && (this.selectedAt === null || selected.length > 1 || dataset.at === this.selectedAt);
		for (const group of this.dots.values()) {
			const id = group.dataset.id ?? "";
			const state = !cones ? "" : cones.focus.has(id) ? "focus" : cones.past.has(id) ? "past" : cones.future.has(id) ? "future" : "concurrent";
			if (group.dataset.cone !== state) group.dataset.cone = state;
			group.classList.toggle("selected", isSelected(group));
		}
		for (const row of this.rows.values()) {
			const { id = "" } = row.dataset;
			row.classList.toggle("selected", isSelected(row) || (!selected.includes(id) && (cones?.focus.has(id) ?? false)));
		}
		for (const group of this.edges.values()) {
			for (const edge of group.children) {
				if (!(edge instanceof SVGElement)) continue;
				const { from = "", to = "" } = edge.dataset;
				const lit = (inPast(from) && inPast(to)) || (inFuture(from) && inFuture(to));
				edge.classList.toggle("lit", lit);
				const end = edge.getAttribute("marker-end");
				const marker = lit ? "url(#arrow-lit)" : "url(#arrow)";
				if (end !== null && end !== marker) edge.setAttribute("marker-end", marker);
			}
		}
	}

	/**
	 * Brings a message's row into sight: where it was sent, or what became of it last at this member.
	 * @param {string} id
	 * @param {string | null} [at]
	 */
	reveal(id, at = null) {
		const there = at === null ? undefined : this.visible().findLast((event) => event.id === id && event.at === at);
		const row = (there ?? this.sends.get(id))?.row;
		if (row !== undefined) this.#revealRow(row);
	}

	/** @param {number} row */
	#revealRow(row) {
		const { scroller } = this.options;
		const y = this.#y(row - this.#first - this.#range().start);
		if (y < scroller.scrollTop + ROW || y > scroller.scrollTop + scroller.clientHeight - ROW) {
			scroller.scrollTop = y - scroller.clientHeight / 2;
		}
	}

	/** Returns the drawing as a file of its own: colours and fonts are written into it. */
	toSvg() {
		const copy = /** @type {SVGElement} */ (this.root.cloneNode(true));
		const styles = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "fill-opacity", "stroke-opacity", "font-size", "font-family", "display"];
		const [originals, copies] = [[...this.root.querySelectorAll("*")], [...copy.querySelectorAll("*")]];
		for (const [i, original] of originals.entries()) {
			const style = getComputedStyle(original);
			for (const name of styles) {
				const value = style.getPropertyValue(name);
				if (value) copies[i].setAttribute(name, value);
			}
			for (const name of ["tabindex", "role", "class"]) copies[i].removeAttribute(name);
		}
		const head = this.options.head.querySelector("svg");
		const [width, height] = [Number(this.root.getAttribute("width")), Number(this.root.getAttribute("height"))];
		const headHeight = Number(head?.getAttribute("height") ?? 0);
		const { color, backgroundColor } = getComputedStyle(this.options.scroller);
		const page = svg("svg", { xmlns: SVG, width, height: height + headHeight, viewBox: `0 0 ${width} ${height + headHeight}` },
			svg("rect", { width, height: height + headHeight, fill: backgroundColor }));
		if (head) {
			const names = /** @type {SVGElement} */ (head.cloneNode(true));
			const [from, to] = [[...head.querySelectorAll("*")], [...names.querySelectorAll("*")]];
			for (const [i, original] of from.entries()) to[i].setAttribute("fill", getComputedStyle(original).fill);
			names.setAttribute("font-family", "sans-serif");
			names.setAttribute("font-size", "12");
			names.setAttribute("color", color);
			page.append(names);
		}
		copy.setAttribute("y", String(headHeight));
		page.append(copy);
		return new XMLSerializer().serializeToString(page);
	}
}

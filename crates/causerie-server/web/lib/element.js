// Elements of the document, made without any text ever being read as markup.

/**
 * Makes an element.
 * @template {keyof HTMLElementTagNameMap} N
 * @param {N} name
 * @param {{[name: string]: string | number | boolean | ((event: any) => void) | null | undefined}} [attributes] a function
 *   is a listener; what is false or missing is left out
 * @param {(Node | string | null | undefined | false)[]} children strings are text
 * @returns {HTMLElementTagNameMap[N]}
 */
export function h(name, attributes = {}, ...children) {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (typeof value === "function") element.addEventListener(key, value);
		else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : String(value));
	}
	for (const child of children) if (child !== null && child !== undefined && child !== false) element.append(child);
	return element;
}

/**
 * Returns the element of the page with this id.
 * @template {Element} T
 * @param {string} id
 * @param {new (...args: any) => T} type
 * @returns {T}
 */
export function byId(id, type) {
	const element = document.getElementById(id);
	if (!(element instanceof type)) throw new Error(`#${id} is not in the page`);
	return element;
}

/** Returns an element with the time of day, as the server told it: for people. @param {string} time */
export function timeElement(time) {
	const date = new Date(time);
	const today = new Date().toDateString() === date.toDateString();
	const short = today
		? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
		: date.toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
	return h("time", { datetime: time, title: date.toLocaleString() }, short);
}

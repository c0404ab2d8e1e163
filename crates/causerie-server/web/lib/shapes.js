// Elements of pictures, and the colour and shape by which a member is known in all of them.

export const SVG = "http://www.w3.org/2000/svg";
const HUES = 8;
const SHAPES = 5;

/** Returns the hue and the shape of a member: of ten neighbours none look alike. @param {string} member */
export function lookOf(member) {
	const [origin, ordinal] = member.split(".").map(Number);
	if (ordinal === 0) return { hue: "host", shape: 1 };
	const n = ordinal + 3 * origin;
	return { hue: String(n % HUES), shape: n % SHAPES };
}

/**
 * Returns the path of a shape around the origin.
 * @param {number} shape
 * @param {number} r
 */
export function shapePath(shape, r) {
	const polygon = (/** @type {number} */ n, /** @type {number} */ turn, /** @type {number} */ size) =>
		`M${Array.from({ length: n }, (_, i) => {
			const angle = ((turn + i / n) * 2 - 0.5) * Math.PI;
			return `${(Math.cos(angle) * size).toFixed(2)} ${(Math.sin(angle) * size).toFixed(2)}`;
		}).join("L")}Z`;
	switch (shape) {
		case 0: return `M${-r} 0A${r} ${r} 0 1 1 ${r} 0A${r} ${r} 0 1 1 ${-r} 0Z`;
		case 1: return polygon(4, 1 / 8, r * 1.25);
		case 2: return polygon(4, 0, r * 1.3);
		case 3: return polygon(3, 0, r * 1.35);
		default: return polygon(6, 0, r * 1.15);
	}
}

/**
 * Makes an element of a picture.
 * @param {string} name
 * @param {{[name: string]: string | number}} attributes
 * @param {(Node | string)[]} children
 */
export function svg(name, attributes = {}, ...children) {
	const element = document.createElementNS(SVG, name);
	for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
	element.append(...children);
	return element;
}

/** Returns a member's shape by itself. @param {string} member @param {number} [size] */
export function badge(member, size = 14) {
	const { hue, shape } = lookOf(member);
	const view = `${-size / 2} ${-size / 2} ${size} ${size}`;
	return svg("svg", { class: `badge hue-${hue}`, width: size, height: size, viewBox: view, "aria-hidden": "true" },
		svg("path", { d: shapePath(shape, size * 0.36) }));
}

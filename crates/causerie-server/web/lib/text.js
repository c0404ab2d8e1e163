// What people write, as text: who is called in it, which reactions read the same, what does not keep to its line.

/** Characters of words: no name begins or ends between two of them. */
const WORD = "[\\p{L}\\p{N}\\p{M}_]";
/** The last pattern: a room asks for one name again and again. @type {{name: string, pattern: RegExp | null}} */
let known = { name: "", pattern: null };

/** Returns the pattern that finds a name. @param {string} name */
function patternOf(name) {
	if (known.name !== name) {
		const literal = name.replace(/[\\^$.*+?()[\]{}|/-]/gu, "\\$&");
		known = { name, pattern: new RegExp(`@?(?<!${WORD})${literal}(?!${WORD})`, "giu") };
	}
	return known.pattern;
}

/**
 * Returns a text in parts: every second one calls this name, as a word of its own, in capitals or not.
 * @param {string} text
 * @param {string | undefined} name
 * @returns {string[]}
 */
export function splitAtMentions(text, name) {
	const pattern = name ? patternOf(name) : null;
	if (!pattern) return [text];
	const parts = [];
	let from = 0;
	for (const match of text.matchAll(pattern)) {
		parts.push(text.slice(from, match.index), match[0]);
		from = match.index + match[0].length;
	}
	return [...parts, text.slice(from)];
}

/** Returns whether a text calls this name. @param {string} text @param {string | undefined} name */
export const isMentioned = (text, name) => splitAtMentions(text, name).length > 1;

/** Returns the key that reactions have in common which read the same: composed, and without selectors of a form. @param {string} symbol */
export const symbolKey = (symbol) => symbol.normalize("NFC").replace(/[\ufe0e\ufe0f]/gu, "");

/** Characters that show nothing of their own, or stand in a line otherwise than side by side. */
const UNSEEN = "\\p{White_Space}\\p{Cc}\\p{Default_Ignorable_Code_Point}\\u2800";
/** Unseen characters other than those that join emoji, give them a form, or tag a flag. */
const STRAY = new RegExp(`(?!\\u200d|[\\ufe0e-\\ufe0f]|[\\u{e0020}-\\u{e007f}])[${UNSEEN}]`, "u");
const SEEN = new RegExp(`[^\\p{M}${UNSEEN}]`, "u");

/** Returns whether a text can be a reaction, as the server judges it: something in it shows, and nothing in it hides or turns what stands beside. @param {string} text */
export const isSymbol = (text) => SEEN.test(text) && !STRAY.test(text);

/** Returns the text with the lowest of each pile of marks, for where nothing else keeps it from its neighbours. @param {string} text */
export const flat = (text) => text.replace(/(\p{M}{3})\p{M}+/gu, "$1");

/** Returns a text as one line, cut, and without piles of marks. @param {string} text @param {number} [most] */
export function short(text, most = 90) {
	const line = flat(text.replace(/\s+/gu, " ").trim());
	return [...line].length > most ? `${[...line].slice(0, most - 1).join("")}…` : line;
}

/** Returns what an error says. @param {unknown} error */
export const words = (error) => (error instanceof Error ? error.message : String(error));

import assert from "node:assert/strict";
import { test } from "node:test";

import { flat, isMentioned, splitAtMentions } from "../lib/text.js";

test("a mention is a name as a word", () => {
	for (const [text, name] of [
		["Ann", "Ann"], ["is ANN in?", "Ann"], ["@ann: yes", "Ann"], ["(Ann)", "Ann"], ["dear Ann Lee!", "Ann Lee"], ["über: ja", "Über"],
		["a+b?", "a+b"], ["what says [x] to that", "[x]"], ["__proto__ is in", "__proto__"], ["اهلا منى!", "منى"], ["x-Ann", "Ann"],
	]) assert.ok(isMentioned(text, name), `${name} in “${text}”`);
	for (const [text, name] of [
		["Anna", "Ann"], ["Joann", "Ann"], ["ann_lee", "Ann"], ["Ann2", "Ann"], ["An\u0301n", "An"], ["aab", "a+b"], ["", "Ann"], ["Ann", ""],
	]) assert.ok(!isMentioned(text, name), `${name} in “${text}”`);
	assert.equal(isMentioned("Ann", undefined), false);
	assert.deepEqual(splitAtMentions("Ann, ask @Ann", "ann"), ["", "Ann", ", ask ", "@Ann", ""]);
});

test("a pile of marks is flat, and what languages need stays", () => {
	assert.equal(flat(`Z${"\u0301".repeat(60)}a`), `Z${"\u0301".repeat(3)}a`);
	for (const text of ["Việt Nam".normalize("NFD"), "שָׁלוֹם", "ที่นี่", "नमस्ते", "e\u0301"]) assert.equal(flat(text), text);
});

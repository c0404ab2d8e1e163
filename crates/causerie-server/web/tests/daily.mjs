// The page in daily use, in Chromium: a fresh server, several windows, what is refused, calls by name, scripts of all kinds:
//
//   node tests/daily.mjs PATH-TO-CAUSERIE [FOLDER-FOR-SCREENSHOTS]

import assert from "node:assert/strict";

import { accessible, fits, inChromium, live, openPage as openPageAt, picture, say, sees, shown, watch } from "./pages.mjs";
import { log as logAt, startServer, until } from "./programs.mjs";
import { startProxy } from "./proxy.mjs";

/** @typedef {import("playwright-core").Page} Page */

/** @type {import("playwright-core").Browser} */
let browser;
/** @type {string} */
let address;
/** @type {string[][]} */
const troubles = [];

const openPage = async (options = {}, at = address) => {
	const opened = await openPageAt(browser, at, options);
	troubles.push(opened.troubles);
	return opened;
};
/** @param {string} path @param {object} body @param {string} [token] */
const post = async (path, body, token) => (await fetch(`http://${address}/api/rooms${path}`, {
	method: "POST", headers: { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) }, body: JSON.stringify(body),
})).json();
let ids = 0;
/** A member that speaks by HTTP. @param {string} room @param {string} name */
const bot = async (room, name) => {
	const { token } = await post(`/${room}/members`, { name });
	return (/** @type {string | object} */ said) =>
		post(`/${room}/messages`, { id: `b${(ids += 1)}`, ...(typeof said === "string" ? { text: said } : said) }, token);
};
/** Puts a text into the field, whatever it is made of, and sends it. @param {Page} page @param {string} text */
const sayAnything = async (page, text) => {
	await page.evaluate((halves) => {
		const field = /** @type {HTMLTextAreaElement} */ (document.querySelector("#composer-text"));
		field.value = halves.map((half) => String.fromCharCode(half)).join("");
		field.dispatchEvent(new Event("input", { bubbles: true }));
	}, Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)));
	await page.press("#composer-text", "Enter");
};
/** @param {Page} page @param {string} text */
const line = (page, text) => page.locator("#lines .message", { hasText: text });
/** @param {Page} page */
const inDocument = (page) => page.evaluate(() => document.documentElement.outerHTML);

/** @param {import("./pages.mjs").World} world */
async function test({ folder, browser: started }) {
	browser = started;
	address = (await startServer(folder)).address;

	console.log("on a fresh server the first visitor makes the lobby, and a name is asked for once");
	const ann = await openPage();
	await ann.page.goto(`http://${address}/`);
	await ann.page.waitForSelector("#join:not([hidden])");
	await accessible(ann.page, "a fresh server");
	await picture(ann.page, "fresh");
	assert.ok(await ann.page.isHidden("#banner"), await ann.page.innerText("#banner"));
	assert.equal(await ann.page.locator("input[autocomplete=nickname]:visible").count(), 1);
	await ann.page.fill("#join-name", "Ann");
	await ann.page.press("#join-name", "Enter");
	await live(ann.page);
	await say(ann.page, "is anybody here?");
	await sees(ann.page, "is anybody here?");
	await ann.page.fill("#create-name", "other");
	await ann.page.press("#create-name", "Enter");
	await ann.page.waitForFunction(() => document.querySelector("#room-name")?.textContent === "other");
	await ann.page.waitForSelector("#join:not([hidden])");
	assert.equal(await ann.page.inputValue("#join-name"), "Ann");
	await ann.page.press("#join-name", "Enter");
	await live(ann.page);
	await ann.page.goto(`http://${address}/#nowhere`);
	await ann.page.click("#banner button >> text=To the lobby");
	await live(ann.page);
	assert.equal(await ann.page.innerText("#room-name"), "lobby");

	console.log("what is refused for good leaves the queue, is told and at hand, and the next message goes out");
	await sayAnything(ann.page, "half \ud83d emoji");
	await until("the reason", async () => /half of a character/u.test(await ann.page.innerText("#composer-problem")));
	assert.equal((await ann.page.inputValue("#composer-text")).length, 12);
	assert.equal(await ann.page.locator("#outbox .outgoing").count(), 0);
	await sayAnything(ann.page, "L".repeat(20_000));
	await until("the server's reason", async () => /at most 16384 bytes/u.test(await ann.page.innerText("#composer-problem")));
	assert.equal((await ann.page.inputValue("#composer-text")).length, 20_000);
	await sayAnything(ann.page, "é".repeat(200_000));
	await until("the page's reason", async () => /it is too long: 4\d{5} bytes/u.test(await ann.page.innerText("#composer-problem")));
	await say(ann.page, "the next one");
	await sees(ann.page, "the next one");
	// Where something else is being written, it stands beside it.
	await ann.page.evaluate(() => {
		const field = /** @type {HTMLTextAreaElement} */ (document.querySelector("#composer-text"));
		field.value = "T".repeat(20_000);
		/** @type {HTMLFormElement} */ (document.querySelector("#composer")).requestSubmit();
		field.value = "meanwhile";
	});
	await ann.page.locator("#outbox .refused", { hasText: "not said: a text has at most" }).waitFor();
	assert.equal(await ann.page.inputValue("#composer-text"), "meanwhile");
	await accessible(ann.page, "something refused");
	await picture(ann.page, "refused");
	await ann.page.reload();
	await live(ann.page);
	await ann.page.locator("#outbox .refused").waitFor();
	await ann.page.click("#outbox .refused >> text=Mend");
	assert.equal((await ann.page.inputValue("#composer-text")).length, 20_000);
	await until("nothing to be left beside it", async () => (await ann.page.locator("#outbox > *").count()) === 0);
	await ann.page.fill("#composer-text", "");

	console.log("/help helps, and a mistaken command is told");
	await say(ann.page, "/help");
	await ann.page.waitForSelector("#help:not([hidden])");
	assert.match(await ann.page.innerText("#help"), /\/topic words/u);
	await accessible(ann.page, "help");
	await picture(ann.page, "help");
	await ann.page.focus("#help");
	await ann.page.press("#help", "Escape");
	assert.ok(await ann.page.isHidden("#help"));
	await say(ann.page, "/hlep me");
	assert.match(await ann.page.innerText("#composer-problem"), /There is no \/hlep\. \/help tells/u);
	assert.equal(await ann.page.inputValue("#composer-text"), "/hlep me");
	await say(ann.page, "//etc/passwd");
	await sees(ann.page, "/etc/passwd");
	assert.equal(await ann.page.innerText("#composer-problem"), "");

	console.log("two windows of a browser are one member with one connection, whichever is closed");
	const second = await ann.context.newPage();
	watch(second, address, ann.troubles);
	await second.goto(`http://${address}/#other`);
	await live(second);
	await second.goto(`http://${address}/#lobby`);
	await live(second);
	await say(second, "from the second window");
	await Promise.all([sees(second, "from the second window"), sees(ann.page, "from the second window")]);
	await say(ann.page, "from the first window");
	await sees(second, "from the first window");
	const { members } = await (await fetch(`http://${address}/api/rooms/lobby`)).json();
	assert.deepEqual(members.map((/** @type {any} */ { name }) => name), ["Ann"]);
	const sockets = async () => Number(/causerie_json_readers\{?[^\n]*\}? (\d+)/u.exec(await (await fetch(`http://${address}/metrics`)).text())?.[1] ?? Number.NaN);
	if (Number.isFinite(await sockets())) assert.equal(await sockets(), 2, "one for each room");
	await ann.page.close();
	await say(second, "the first is closed");
	await sees(second, "the first is closed");
	await until("nothing to be on its way", async () => (await second.locator("#outbox > *").count()) === 0);
	assert.ok(!(await logAt(address, "lobby")).some((/** @type {any} */ { kind }) => kind === "left"));
	ann.page = second;

	console.log("who is called sees it, by room, and outside the page if it may be");
	const raj = await bot("other", "Raj");
	const eve = await bot("lobby", "Eve");
	await ann.page.evaluate(() => {
		/** @type {any} */ (globalThis).told = [];
		/** @type {any} */ (globalThis).Notification = class {
			static permission = "granted";
			/** @param {string} title @param {{body: string}} options */
			constructor(title, { body }) {
				/** @type {any} */ (globalThis).told.push([title, body]);
			}

			close() {}
		};
	});
	await raj("nobody is called");
	const called = await raj("and ANN?");
	const roomLink = ann.page.locator('#room-list a[data-room="other"]');
	await until("a call in the list", async () => /@1 for you/u.test((await roomLink.textContent()) ?? "") && /2 unread/u.test((await roomLink.textContent()) ?? ""));
	await until("the call to be told outside", async () => JSON.stringify(await ann.page.evaluate(() => /** @type {any} */ (globalThis).told)) === '[["Raj · other","and ANN?"]]');
	assert.match(await ann.page.title(), /^\(2\) /u);
	await raj({ kind: "reaction", to: called.message, symbol: "👍" });
	await raj({ kind: "delete", of: called.message });
	await until("what is deleted not to be counted", async () => !/for you/u.test((await roomLink.textContent()) ?? "") && /1 unread/u.test((await roomLink.textContent()) ?? ""));
	await eve("ask @Ann, or Anna");
	await sees(ann.page, "ask @Ann, or Anna");
	assert.deepEqual(await line(ann.page, "ask @Ann").locator("mark").allTextContents(), ["@Ann"]);
	await accessible(ann.page, "a call by name");
	await picture(ann.page, "called");

	console.log("where one stopped reading is kept");
	await say(ann.page, "I am off");
	await sees(ann.page, "I am off");
	await until("all to be read", async () => /^lobby|^\(1\) lobby/u.test(await ann.page.title()));
	await ann.page.goto("about:blank");
	for (let n = 0; n < 60; n += 1) await eve(`while you were away ${n}`);
	await ann.page.goto(`http://${address}/#lobby`);
	await sees(ann.page, "while you were away 59");
	await ann.page.waitForSelector("#to-news:not([hidden])");
	assert.equal(await ann.page.innerText("#to-news"), "↑ 60 new");
	await picture(ann.page, "news");
	await ann.page.click("#to-news");
	await ann.page.locator("#lines > .news", { hasText: "while you were away 0" }).waitFor();
	assert.equal(await ann.page.locator("#lines .new").innerText(), "new");
	assert.ok(await ann.page.isHidden("#to-news"));
	await accessible(ann.page, "where the news begins");
	if (await ann.page.isVisible("#to-end")) await ann.page.click("#to-end");

	console.log("what is deleted, or edited away, is nowhere in the page");
	const secret = await eve("my password is hunter2");
	const answered = await eve("a typo: hunter3");
	await eve({ kind: "reply", to: secret.message, text: "oh no" });
	await sees(ann.page, "oh no");
	await ann.page.locator("#diagram .label", { hasText: "hunter2" }).waitFor();
	await ann.page.locator("#lines .text", { hasText: "is hunter2" }).click();
	await until("the inspector to show it", async () => /hunter2/u.test(await ann.page.innerText("#details")));
	await ann.page.click("#table-button");
	await eve({ kind: "delete", of: secret.message });
	await eve({ kind: "edit", of: answered.message, text: "no typo" });
	await sees(ann.page, "no typo (edited)");
	await until("nothing of it to be left", async () => !/hunter[23]/u.test(await inDocument(ann.page)));
	assert.equal(await ann.page.locator("#lines .quote", { hasText: "deleted" }).count(), 1);
	await ann.page.click("#table-button");
	await ann.page.locator("#diagram .label", { hasText: "deleted" }).first().waitFor();
	await until("nothing of it to be left", async () => !/hunter[23]/u.test(await inDocument(ann.page)));
	// Whoever reads the picture in order reads it so still, and so where it shows more.
	await ann.page.selectOption("#window", "300");
	const records = (await logAt(address, "lobby")).map((/** @type {any} */ { id }) => id);
	const dots = () => ann.page.locator("#diagram .event.send").evaluateAll((all) => all.map((dot) => /** @type {SVGElement} */ (dot).dataset.id ?? ""));
	await until("all dots", async () => (await dots()).length === records.length);
	assert.deepEqual(await dots(), records);
	await ann.page.selectOption("#window", "60");
	await ann.page.click("#search-button");
	await ann.page.fill("#search-words", "hunter2");
	await ann.page.press("#search-words", "Enter");
	await ann.page.locator("#hits li").first().waitFor();
	assert.doesNotMatch(await ann.page.innerText("#hits"), /hunter2/u);
	await ann.page.press("#search-words", "Escape");
	await ann.page.click("#details .close");

	console.log("every script runs its own way, and keeps to its line");
	await eve("above");
	await eve(`Z${"\u0301\u0316".repeat(60)}`);
	await eve("below");
	await eve("שלום, מה שלומך? (123)");
	await eve("plain English.");
	const turned = await eve("\u202eturned around");
	await eve({ kind: "edit", of: turned.message, text: "\u202eturned again" });
	await ann.page.locator("#lines .edited >> nth=-1").waitFor();
	await sees(ann.page, "plain English.");
	await until("the edit", async () => (await shown(ann.page)).some((text) => text.includes("turned again")));
	const direction = (/** @type {string} */ text) => line(ann.page, text).locator(".text").evaluate((element) => getComputedStyle(element).direction);
	assert.deepEqual([await direction("שלום"), await direction("plain English")], ["rtl", "ltr"]);
	await ann.page.fill("#composer-text", "שלום");
	assert.equal(await ann.page.locator("#composer-text").evaluate((field) => getComputedStyle(field).direction), "rtl");
	await ann.page.fill("#composer-text", "");
	const sides = await line(ann.page, "turned again").evaluate((element) =>
		[".text .written", ".edited"].map((part) => element.querySelector(part)?.getBoundingClientRect().left ?? Number.NaN));
	assert.ok(sides[0] < sides[1], `what is half closed ends with its element: ${sides}`);
	assert.ok((await ann.page.locator("#diagram .label").allTextContents()).every((text) => !/\p{M}{4}/u.test(text)), "nor in the picture");
	await picture(ann.page, "scripts");
	await ann.page.mouse.move(1, 1);
	const drawn = async (/** @type {string} */ text) => {
		const box = await ann.page.locator("#lines .written", { hasText: new RegExp(`^${text}$`, "u") }).boundingBox();
		assert.ok(box);
		return (await ann.page.screenshot({ clip: box })).toString("base64");
	};
	const withMarks = [await drawn("above"), await drawn("below")];
	await ann.page.evaluate(() => {
		for (const element of document.querySelectorAll("#lines .written")) if (element.textContent?.startsWith("Z")) element.textContent = "Z";
	});
	assert.deepEqual([await drawn("above"), await drawn("below")], withMarks, "nothing is drawn over its neighbours");

	console.log("rooms may be called as parts of the page, or of its language");
	for (const name of ["__proto__", "constructor", "composer-text", "lines"]) {
		await post("", { name });
		const says = await bot(name, "__proto__");
		await says("from within");
		await ann.page.evaluate((room) => { location.hash = room; }, name);
		await ann.page.waitForFunction((room) => document.querySelector("#room-name")?.textContent === room, name);
		await ann.page.waitForSelector("#join:not([hidden])");
		await ann.page.press("#join-name", "Enter");
		await live(ann.page);
		await sees(ann.page, "from within");
		await say(ann.page, `in ${name}`);
		await sees(ann.page, `in ${name}`);
		await ann.page.fill("#composer-text", `a draft in ${name}`);
		await ann.page.reload();
		await live(ann.page);
		assert.equal(await ann.page.inputValue("#composer-text"), `a draft in ${name}`);
		await ann.page.click(`#room-list a[data-room="${name}"]`);
		await sees(ann.page, `in ${name}`);
		assert.deepEqual(await ann.page.evaluate(() => [document.documentElement.scrollTop, document.body.scrollTop]), [0, 0]);
	}

	console.log("whoever has made a room closes it, also later; others do not");
	await ann.page.goto(`http://${address}/#lines`);
	await live(ann.page);
	await ann.page.click("#members-button");
	assert.ok(await ann.page.isHidden("#close-room"), "a bot has made it");
	await ann.page.fill("#create-name", "mine");
	await ann.page.press("#create-name", "Enter");
	await ann.page.waitForFunction(() => document.querySelector("#room-name")?.textContent === "mine");
	await ann.page.waitForSelector("#join:not([hidden])");
	await ann.page.press("#join-name", "Enter");
	await live(ann.page);
	await ann.page.reload();
	await live(ann.page);
	await ann.page.click("#members-button");
	ann.page.once("dialog", (dialog) => void dialog.accept());
	await ann.page.click("#close-room");
	await until("the room to be closed", async () => /The room was closed/u.test(await ann.page.innerText("#banner")));
	assert.equal((await fetch(`http://${address}/api/rooms/mine`)).status, 404);
	await ann.page.evaluate(() => { location.hash = "lobby"; });
	await live(ann.page);

	console.log("the picture is closed, and stays closed");
	assert.ok(await ann.page.isVisible("#diagram"));
	await ann.page.click("#picture-close");
	await ann.page.waitForSelector("#picture", { state: "hidden" });
	await ann.page.reload();
	await live(ann.page);
	assert.ok(await ann.page.isHidden("#picture"));
	await picture(ann.page, "closed");
	await ann.page.click("#picture-button");
	await ann.page.locator("#diagram .event.send").last().waitFor();

	console.log("below a path, and behind a proxy that says another name");
	const below = await startProxy(address, { prefix: "/chat" });
	const bea = await openPage({}, below.address);
	await bea.page.goto(`http://${below.address}/chat/#lobby`);
	await bea.page.fill("#join-name", "Bea");
	await bea.page.press("#join-name", "Enter");
	await live(bea.page);
	await say(bea.page, "from below a path");
	await sees(bea.page, "from below a path");
	await bea.page.goto(`http://${below.address}/chat/lab`);
	await bea.page.locator('[data-order="causal"] .event').first().waitFor();
	await bea.page.click("text=To the chat");
	await live(bea.page);
	assert.deepEqual(below.outside, []);
	const named = await startProxy(address, { host: address });
	const cy = await openPage({}, named.address);
	await cy.page.goto(`http://${named.address}/#lobby`);
	await cy.page.fill("#join-name", "Cy");
	await cy.page.press("#join-name", "Enter");
	await until("the reason", async () => (await cy.page.innerText("#banner")).includes(`--allow-origin http://${named.address}`));
	await picture(cy.page, "foreign");
	const unknown = await startProxy(address, { host: "talk.example.org", only: "/api/rooms/lobby/ws" });
	const dora = await openPage({}, unknown.address);
	await dora.page.goto(`http://${unknown.address}/#lobby`);
	await dora.page.fill("#join-name", "Dora");
	await dora.page.press("#join-name", "Enter");
	await until("the reason", async () => (await dora.page.innerText("#banner")).includes("--allow-host 127.0.0.1"));

	console.log("narrow and large");
	await ann.page.goto(`http://${address}/#lobby`);
	await live(ann.page);
	for (const [name, width, height] of /** @type {[string, number, number][]} */ ([["1280", 1280, 720], ["zoomed", 720, 450], ["narrow", 390, 780]])) {
		await ann.page.setViewportSize({ width, height });
		await fits(ann.page);
		await picture(ann.page, `daily-${name}`);
	}
	await ann.page.click('.panes [data-pane="picture"]');
	await ann.page.locator("#diagram .label").last().waitFor();
	await picture(ann.page, "daily-narrow-picture");

	for (const told of troubles) assert.deepEqual(told, []);
}

await inChromium("daily", test);

// The page in a real browser, with a real server and native clients:
//
//   node tests/browser.mjs PATH-TO-CAUSERIE [FOLDER-FOR-SCREENSHOTS]
//
// Waits for what must come, and never for a time. Environment: CHROMIUM, another browser than /usr/bin/chromium.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { accessible, fits, join_ as joinAt, live, openPage as openPageAt, picture, say, sees, shown, startChromium } from "./pages.mjs";
import { PATIENCE, TRAIN, endings, log as logAt, startNative as startNativeAt, startServer, until } from "./programs.mjs";

/** A native client that speaks and listens in a pipe. @param {string} name @param {string} [link] */
const startNative = (name, link) => startNativeAt(address, name, link);
/** The whole log of a room. @param {string} room */
const log = (room) => logAt(address, room);

/** @param {import("playwright-core").BrowserContextOptions} [options] */
const openPage = (options) => openPageAt(/** @type {import("playwright-core").Browser} */ (browser), address, options);
/** @param {Page} page @param {string} name @param {string} [room] */
const join_ = (page, name, room) => joinAt(page, address, name, room);

/** @typedef {import("playwright-core").Page} Page */

const folder = await mkdtemp(join(tmpdir(), "causerie-page-"));
/** @type {import("playwright-core").Browser | undefined} */
let browser;
/** @type {string} */
let address;

async function test() {
	const server = await startServer(folder);
	address = server.address;
	const version = await fetch(`http://${address}/`);
	assert.equal(version.status, 200);
	await fetch(`http://${address}/api/rooms`, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"name":"lobby"}' });
	browser = await startChromium();

	console.log("two pages and a native client talk");
	const ann = await openPage();
	const raj = await openPage({ colorScheme: "dark" });
	await join_(ann.page, "Ann");
	await join_(raj.page, "Raj");
	assert.ok(await ann.page.locator("#composer-text").evaluate((text) => text.clientHeight >= 20), "a line fits into the message field");
	const bob = startNative("Bob");
	await until("Bob to be in", async () => (await log("lobby")).some((/** @type {any} */ { kind, author }) => kind === "joined" && author === "Bob"));
	const said = [];
	for (let round = 0; round < 5; round += 1) {
		for (const [name, speak] of /** @type {const} */ ([["Ann", (/** @type {string} */ text) => say(ann.page, text)], ["Raj", (/** @type {string} */ text) => say(raj.page, text)], ["Bob", bob.say]])) {
			said.push(`${name} ${round}`);
			await speak(`${name} ${round}`);
		}
	}
	for (const text of said) await Promise.all([sees(ann.page, text), sees(raj.page, text)]);
	const texts = (await log("lobby")).flatMap((/** @type {any} */ { kind, text }) => (kind === "text" ? [text] : []));
	assert.deepEqual([...texts].sort(), [...said].sort());
	assert.deepEqual(await shown(ann.page), texts, "Ann sees the log's order");
	assert.deepEqual(await shown(raj.page), texts, "Raj sees the log's order");
	const notBob = texts.filter((/** @type {string} */ text) => !text.startsWith("Bob"));
	await until("Bob to hear all", () => bob.heard.length === notBob.length);
	assert.deepEqual(bob.heard.map((heard) => heard.split(" : ")[1]).sort(), [...notBob].sort());

	console.log("replies, reactions, edits, deletions, topic");
	const question = ann.page.locator("#lines .message", { hasText: "Ann 0" });
	await raj.page.locator("#lines .message", { hasText: "Ann 0" }).hover();
	await raj.page.locator("#lines .message", { hasText: "Ann 0" }).locator('[data-action="reply"]').click();
	await say(raj.page, "an answer");
	await sees(ann.page, "an answer");
	assert.match(await ann.page.locator("#lines .message", { hasText: "an answer" }).locator(".quote").innerText(), /Ann Ann 0/u);
	await raj.page.locator("#lines .message", { hasText: "Bob 1" }).hover();
	await raj.page.locator("#lines .message", { hasText: "Bob 1" }).locator('[data-action="react"]').click();
	await raj.page.locator("#picker button").first().click();
	await ann.page.locator("#lines .message", { hasText: "Bob 1" }).locator(".reaction").waitFor();
	await question.first().hover();
	await question.first().locator('[data-action="edit"]').click();
	await say(ann.page, "Ann zero");
	await sees(raj.page, "Ann zero (edited)");
	ann.page.on("dialog", (dialog) => void dialog.accept());
	await ann.page.locator("#lines .message", { hasText: "Ann 1" }).hover();
	await ann.page.locator("#lines .message", { hasText: "Ann 1" }).locator('[data-action="delete"]').click();
	await sees(raj.page, "deleted");
	await say(ann.page, "/topic what happened before what");
	await until("the topic", async () => (await raj.page.innerText("#topic")) === "what happened before what");
	await say(ann.page, "/me waves");
	await sees(raj.page, "Ann waves");

	console.log("dots and arrows are the recorded dependencies");
	const bad = startNative("Eve", "delay=0..400ms,loss=30%,seed=7");
	let count = 0;
	// Until the weather has been bad once.
	await until("a message to be held", async () => {
		if (count < 400) bad.say(TRAIN[(count += 1) % TRAIN.length]);
		return (await ann.page.locator("#diagram .event.hold").count()) > 0;
	});
	await picture(ann.page, "held");
	bob.say("what is this?");
	await until("all of Eve's to be there", async () => (await log("lobby")).filter((/** @type {any} */ { author, kind }) => author === "Eve" && kind === "text").length === count);
	await say(ann.page, "that was it");
	await sees(ann.page, "that was it");
	console.log("what native clients deliver and hold is drawn at their columns");
	const eve = (await log("lobby")).find((/** @type {any} */ { author }) => author === "Eve").member;
	let asked = 0;
	// Until one of two has overtaken the other on the way to Eve, and both have been delivered there.
	await until("a hollow dot at Eve's column, and a dashed line down to its delivery", async () => {
		if (asked < 100) for (const word of ["ready?", "go!"]) bob.say(`${word} ${(asked += 1)}`);
		return ann.page.evaluate((at) => [...document.querySelectorAll(`#diagram .event.hold[data-at="${at}"]`)].some((hollow) => {
			const { id } = /** @type {SVGElement} */ (hollow).dataset;
			const delivered = document.querySelector(`#diagram .event.deliver[data-at="${at}"][data-id="${id}"]`);
			const dashed = document.querySelector(`#diagram .held[data-at="${at}"][data-to="${id}"]`);
			// It bends back to the column where it is delivered.
			return delivered !== null && (dashed?.getAttribute("d")?.match(/Q/gu)?.length ?? 0) === 2;
		}), eve);
	});
	await picture(ann.page, "arrivals");
	await until("all of Bob's to be there", async () => (await log("lobby")).filter((/** @type {any} */ { text }) => /^(?:ready\?|go!) /u.test(text)).length === asked);
	await ann.page.uncheck("#arrivals");
	await ann.page.selectOption("#window", "300");
	const records = await log("lobby");
	await until("all dots", async () => (await ann.page.locator("#diagram .event.send").count()) === records.length);
	const drawn = await ann.page.evaluate(() => ({
		dots: [...document.querySelectorAll("#diagram .event.send")].map((dot) => /** @type {SVGElement} */ (dot).dataset.id ?? ""),
		arrows: [...document.querySelectorAll("#diagram .arrow.cause")].map((arrow) => {
			const { from, to } = /** @type {SVGElement} */ (arrow).dataset;
			return `${from} ${to}`;
		}),
		holds: [...document.querySelectorAll("#diagram .event.hold")].map((dot) => /** @type {SVGElement} */ (dot).dataset.id ?? ""),
	}));
	assert.deepEqual(drawn.dots, records.map((/** @type {any} */ { id }) => id), "a dot for each record, in order");
	assert.deepEqual(drawn.arrows.sort(), records.flatMap((/** @type {any} */ { id, deps }) => deps.map((/** @type {string} */ dep) => `${dep} ${id}`)).sort());
	assert.ok(drawn.holds.length > 0 && drawn.holds.every((id) => drawn.dots.includes(id)), "what was held was delivered");

	console.log("choosing: the stamp, the conditions, the relation");
	await ann.page.locator("#lines .message", { hasText: "that was it" }).locator(".text").click();
	await ann.page.locator("#details table.rule").waitFor();
	assert.equal(await ann.page.locator("#details tr.fails").count(), 0);
	await ann.page.locator(`#diagram .event.hold[data-id="${drawn.holds[0]}"] path`).click({ force: true });
	await ann.page.locator("#details tr.fails").first().waitFor();
	assert.match(await ann.page.innerText("#details p.fails"), /It was received early and held: [1-9].* It waited for /u);
	await picture(ann.page, "chosen");
	await ann.page.locator("#lines .message", { hasText: "that was it" }).locator(".text").click();
	await ann.page.locator("#lines .message", { hasText: "what is this?" }).locator(".text").click({ modifiers: ["Shift"] });
	assert.match(await ann.page.innerText("#details .relation"), /is after/u);
	await picture(ann.page, "compared");
	await ann.page.selectOption("#window", "60");
	await ann.page.check("#arrivals");

	console.log("what others write is text");
	const nasty = '<img src=x onerror="globalThis.owned=1"><script>globalThis.owned=1</script>javascript:alert(1)';
	bob.say(nasty);
	await sees(ann.page, nasty);
	const evil = await openPage();
	await join_(evil.page, "<b onclick=x>M</b>");
	await say(evil.page, "/topic <i>t</i>");
	await until("the topic as text", async () => (await ann.page.innerText("#topic")) === "<i>t</i>");
	await say(evil.page, "http://example.invalid/<b> and http://example.invalid/x\"onclick=y");
	await sees(ann.page, "http://example.invalid/<b> and http://example.invalid/x\"onclick=y");
	for (const { page } of [ann, raj]) {
		const found = await page.evaluate(() => ({
			owned: /** @type {any} */ (globalThis).owned,
			markup: document.querySelectorAll("#chat img, #chat script, #chat b, #chat i, #picture img, #picture b, [onclick], [onerror]").length,
			links: [...document.querySelectorAll("#lines a")].map((a) => a.getAttribute("href")),
		}));
		assert.equal(found.owned, undefined);
		assert.equal(found.markup, 0);
		assert.ok(found.links.every((href) => href?.startsWith("http://example.invalid/")));
	}
	await evil.context.close();

	console.log("the server is killed and comes back");
	// Whoever reads further up stays there.
	if (await raj.page.isVisible("#to-end")) await raj.page.click("#to-end");
	await server.kill();
	await ann.page.waitForFunction(() => document.querySelector("#state")?.textContent === "no connection");
	await say(ann.page, "said without a server");
	await ann.page.locator("#outbox .outgoing", { hasText: "said without a server" }).waitFor();
	await ann.page.fill("#composer-text", "not sent yet");
	await startServer(folder, address.split(":")[1]);
	for (const { page } of [ann, raj]) {
		await page.click("#banner button", { timeout: 2_000 }).catch(() => {});
		await live(page);
		await sees(page, "said without a server");
	}
	await until("the outbox to be empty", async () => (await ann.page.locator("#outbox .outgoing").count()) === 0);
	await say(raj.page, "welcome back");
	await sees(ann.page, "welcome back");
	const after = (await log("lobby")).filter((/** @type {any} */ { text }) => text === "said without a server");
	assert.equal(after.length, 1, "said once");
	assert.equal(await ann.page.inputValue("#composer-text"), "not sent yet");

	console.log("a reload keeps the order, the membership and the unsent text");
	const before = await shown(ann.page);
	await ann.page.reload();
	await live(ann.page);
	await sees(ann.page, "welcome back");
	const again = await shown(ann.page);
	const overlap = Math.min(before.length, again.length);
	assert.deepEqual(again.slice(-overlap), before.slice(-overlap));
	assert.equal(await ann.page.inputValue("#composer-text"), "not sent yet");
	assert.ok(!(await log("lobby")).some((/** @type {any} */ { kind, author }) => kind === "left" && author === "Ann"));
	const twin = await ann.context.newPage();
	await twin.goto(`http://${address}/#lobby`);
	await live(twin);
	await say(twin, "from another window");
	await Promise.all([sees(ann.page, "from another window"), sees(twin, "from another window")]);
	assert.equal(await ann.page.innerText("#state"), "connected");
	await twin.close();

	console.log("50,000 messages: few in the document, all within reach");
	await fetch(`http://${address}/api/rooms`, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"name":"long"}' });
	const many = 50_000;
	const { token } = await (await fetch(`http://${address}/api/rooms/long/members`, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"name":"Max"}' })).json();
	const tell = (/** @type {number} */ n) => fetch(`http://${address}/api/rooms/long/messages`, {
		method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` }, body: JSON.stringify({ id: `m${n}`, text: `number ${n}` }),
	});
	await raj.page.evaluate(([whose, count]) => new Promise((resolve, reject) => {
		const socket = new WebSocket(`ws://${location.host}/api/rooms/long/ws`);
		let [sent, stored] = [0, 0];
		const send = (/** @type {object} */ event) => socket.send(JSON.stringify(event));
		const more = () => {
			for (; sent < count && sent < stored + 500; sent += 1) send({ type: "say", id: `m${sent}`, text: `number ${sent}` });
		};
		socket.onopen = () => send({ type: "resume", token: whose });
		socket.onmessage = ({ data }) => {
			const { type } = JSON.parse(data);
			stored += Number(type === "ack");
			if (type === "error") reject(new Error(data));
			if (type === "welcome" || type === "ack") more();
			if (stored === count) resolve(socket.close());
		};
	}), /** @type {[string, number]} */ ([token, many]));
	// Whoever comes and reads sees the newest, though earlier ones are fetched at once.
	const reader = await openPage();
	for (let visit = 0; visit < 3; visit += 1) {
		await reader.page.goto(`http://${address}/lab`);
		await reader.page.goto(`http://${address}/#long`);
		await sees(reader.page, `number ${many - 1}`);
	}
	await reader.context.close();
	await join_(ann.page, "Ann", "long");
	// Whoever points at a message: what is before it is all there is, and more comes all the time.
	await sees(ann.page, `number ${many - 1}`);
	await ann.page.locator("#lines .message", { hasText: `number ${many - 1}` }).hover();
	// What is drawn stays, however many come before it.
	await ann.page.waitForSelector("#diagram .event.send");
	await ann.page.evaluate(() => document.querySelector("#diagram .event.send")?.setAttribute("data-marked", ""));
	const inDocument = () => ann.page.locator("#lines > *").count();
	assert.ok((await inDocument()) < 150, "only what is in sight is in the document");
	// Page after page, as somebody who scrolls up.
	await until("the beginning", async () => {
		await ann.page.evaluate(() => { /** @type {HTMLElement} */ (document.querySelector("#scroller")).scrollTop = 0; });
		return (await ann.page.innerText("#beginning")) === "The beginning of this room.";
	}, 10 * PATIENCE);
	assert.equal(await ann.page.locator("#diagram .event[data-marked]").count(), 1, "the picture was not drawn anew");
	await ann.page.evaluate(() => { /** @type {HTMLElement} */ (document.querySelector("#scroller")).scrollTop = 0; });
	await until("the first line", async () => (await ann.page.locator('#lines > [aria-posinset="1"]').count()) === 1);
	assert.ok((await inDocument()) < 150);
	await ann.page.click("#search-button");
	await ann.page.fill("#search-words", '"number 1234"');
	await ann.page.press("#search-words", "Enter");
	await ann.page.locator("#hits button").first().click();
	await ann.page.locator("#lines .found", { hasText: "number 1234" }).waitFor();
	await ann.page.click("#to-end");
	await say(ann.page, "at the end");
	await sees(ann.page, "at the end");

	console.log("the end stays in sight, however fast it grows, until its reader scrolls up");
	const scroller = ann.page.locator("#scroller");
	const fromEnd = () => scroller.evaluate((at) => at.scrollHeight - at.scrollTop - at.clientHeight);
	/** As fast as the server takes them. @param {number} from @param {number} to */
	const burst = async (from, to) => {
		for (let n = from; n < to; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => tell(n + i)));
	};
	await burst(many, many + 1_000);
	await sees(ann.page, `number ${many + 999}`);
	await until("the end", async () => (await fromEnd()) < 8);
	assert.ok(await ann.page.isHidden("#to-end"));
	// What comes and goes behind the lines scrolls them, too; that is no reader.
	await scroller.evaluate(async (at) => {
		const grown = (/** @type {number} */ height) => {
			const element = document.createElement("p");
			element.style.height = `${height}px`;
			at.append(element);
			return element;
		};
		const scrolled = () => new Promise((resolve) => at.addEventListener("scroll", resolve, { once: true }));
		const first = grown(300);
		at.scrollTop = at.scrollHeight;
		await scrolled();
		first.remove();
		at.scrollTop += 0;
		const second = grown(100);
		await scrolled();
		second.remove();
	});
	// Nor is who writes a text of several lines: with each key its height is measured.
	await ann.page.fill("#composer-text", "a text of several lines ".repeat(20));
	await ann.page.type("#composer-text", "and another word");
	await ann.page.evaluate(() => new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); }));
	assert.ok(await ann.page.isHidden("#to-end"));
	await ann.page.fill("#composer-text", "");
	await burst(many + 1_000, many + 1_100);
	await sees(ann.page, `number ${many + 1_099}`);
	await until("the end again", async () => (await fromEnd()) < 8);
	assert.ok(await ann.page.isHidden("#to-end"));
	await scroller.hover();
	await ann.page.mouse.wheel(0, -600);
	await ann.page.waitForSelector("#to-end:not([hidden])");
	const read = await shown(ann.page);
	await burst(many + 1_100, many + 1_200);
	await until("the news to be counted", async () => /^100 new/u.test(await ann.page.innerText("#to-end")));
	assert.ok((await shown(ann.page)).some((text) => read.includes(text)), "whoever reads further up stays there");
	assert.ok(!(await shown(ann.page)).includes(`number ${many + 1_199}`));
	await ann.page.click("#to-end");
	await sees(ann.page, `number ${many + 1_199}`);

	console.log("by keyboard alone");
	const keys = await openPage({ reducedMotion: "reduce" });
	const { page } = keys;
	await page.goto(`http://${address}/`);
	await page.waitForSelector("#room-list a");
	/** Presses Tab until it is there. @param {string} selector */
	const tabTo = async (selector) => {
		for (let i = 0; i < 80; i += 1) {
			if (await page.evaluate((at) => document.activeElement?.matches(at) ?? false, selector)) return;
			await page.keyboard.press("Tab");
		}
		throw new Error(`Tab does not lead to ${selector}`);
	};
	await tabTo("#create-name");
	await page.keyboard.type("keys");
	await page.keyboard.press("Enter");
	await page.waitForFunction(() => document.querySelector("#room-name")?.textContent === "keys");
	await page.waitForSelector("#join:not([hidden])");
	await tabTo("#join-name");
	await page.keyboard.type("Kay");
	await page.keyboard.press("Enter");
	await live(page);
	await tabTo("#composer-text");
	await page.keyboard.type("one");
	await page.keyboard.press("Enter");
	await sees(page, "one");
	await page.keyboard.type("two");
	await page.keyboard.press("Enter");
	await sees(page, "two");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.type(" and a half");
	await page.keyboard.press("Enter");
	await sees(page, "two and a half (edited)");
	const onFirst = async () => /Kay: one/u.test(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? ""));
	await tabTo("#scroller");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.press("ArrowUp");
	await until("the first message to have the focus", onFirst);
	await page.keyboard.press("+");
	await page.keyboard.press("ArrowRight");
	await page.keyboard.press("Enter");
	await page.locator("#lines .reaction").waitFor();
	await until("the first message to have the focus", onFirst);
	await page.keyboard.press("r");
	await page.keyboard.type("a reply");
	await page.keyboard.press("Enter");
	await sees(page, "a reply");
	await tabTo("#diagram .event.send [role=button]");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.press("ArrowUp");
	await page.keyboard.press("Enter");
	await page.locator("#details table.rule").waitFor();
	await page.keyboard.press("ArrowDown");
	await page.keyboard.press("Shift+Enter");
	await page.locator("#details .relation").waitFor();

	console.log("axe finds nothing serious");
	await raj.page.bringToFront();
	await accessible(raj.page, "dark");
	await picture(raj.page, "dark");
	await ann.page.bringToFront();
	await ann.page.goto(`http://${address}/#lobby`);
	await live(ann.page);
	await sees(ann.page, "welcome back");
	await ann.page.locator("#lines .message", { hasText: "welcome back" }).locator(".text").click();
	await ann.page.click("#members-button");
	await accessible(ann.page, "light, a message chosen, the members open");
	await ann.page.click("#members-button");
	await ann.page.click("#table-button");
	await until("the rows", async () => (await ann.page.locator("#diagram-table tbody tr").count()) > 10);
	await accessible(ann.page, "the table");
	await ann.page.click("#table-button");

	console.log("pause, step, fold, export");
	await ann.page.uncheck("#arrivals");
	await ann.page.click("#follow");
	await say(raj.page, "while paused");
	await sees(ann.page, "while paused");
	const last = async () => (await ann.page.locator("#diagram .event.send [role=button]").last().getAttribute("aria-label")) ?? "";
	assert.doesNotMatch(await last(), /while paused/u);
	await ann.page.click("#forward");
	await until("the next event", async () => /while paused/u.test(await last()));
	await ann.page.click("#follow");
	await ann.page.selectOption("#window", "30");
	await until("30 events", async () => (await ann.page.locator("#diagram .event").count()) === 30);
	const everything = await log("lobby");
	await until("what is folded to be counted", async () =>
		Number(/▴ (\d+) earlier/u.exec(await ann.page.innerText("#folded"))?.[1]) >= everything.length - 30);
	for (const [button, ending, has] of /** @type {const} */ ([["#export-svg", ".svg", "<svg"], ["#export-shiviz", ".log", "(?<event>.*)"]])) {
		const [download] = await Promise.all([ann.page.waitForEvent("download"), ann.page.click(button)]);
		assert.ok(download.suggestedFilename().endsWith(ending));
		const content = await readFile(await download.path(), "utf8");
		assert.ok(content.startsWith(has), content.slice(0, 80));
	}
	await ann.page.selectOption("#window", "60");

	console.log("on a phone");
	await ann.page.setViewportSize({ width: 390, height: 780 });
	await ann.page.click('.panes [data-pane="chat"]');
	await picture(ann.page, "phone");
	await fits(ann.page);
	await ann.page.click('.panes [data-pane="picture"]');
	await ann.page.locator("#diagram .event.send").last().waitFor();
	await accessible(ann.page, "the picture on a phone");
	await picture(ann.page, "phone-picture");

	console.log("the lab: three exercises, step and rewind, a link that repeats a run, partitions by mouse");
	const lab = await openPage();
	await lab.page.goto(`http://${address}/lab`);
	/** What the server tells of the run that is shown. */
	const toldOf = async () => {
		const text = await (await fetch(`http://${address}/api/lab${new URL(lab.page.url()).search}`)).text();
		/** @type {any[]} */
		const told = text.trim().split("\n").map((line) => JSON.parse(line));
		return { text, told, end: told[told.length - 1], of: (/** @type {string} */ kind) => told.filter(({ event }) => event === kind) };
	};
	/** What is drawn: kind and message, in order. @param {string} order */
	const drawnIn = (order) => lab.page.evaluate((in_) => [...document.querySelectorAll(`[data-order="${in_}"] .event`)]
		.map((dot) => `${dot.classList[1]} ${/** @type {SVGElement} */ (dot).dataset.id}`), order);
	/** Waits for what the server tells to be drawn, and gives it. */
	const ran = async () => {
		const told = await toldOf();
		const events = told.told.filter(({ event }) => ["send", "hold", "deliver"].includes(event));
		const wanted = events.map(({ event, message }) => `${event} ${message}`).slice(-120);
		await until("the run", async () => JSON.stringify(await drawnIn("causal")) === JSON.stringify(wanted));
		return { ...told, events };
	};
	const verdicts = async () => [await lab.page.innerText("#causal-verdict"), await lab.page.innerText("#arrival-verdict")];
	for (const { name, held, anomalies } of [
		{ name: "1. Three speak at once", held: [], anomalies: 0 },
		{ name: "2. An answer overtakes its question", held: ["0.2#1 for 0.1#1"], anomalies: 1 },
		{ name: "3. One’s own words overtake each other", held: ["0.1#2 for 0.1#1"], anomalies: 1 },
	]) {
		await lab.page.click(`text=${name}`);
		await lab.page.waitForSelector(`#presets a[aria-current]:has-text("${name}")`);
		const { of, end } = await ran();
		assert.deepEqual(of("hold").map(({ message, waits_for }) => `${message} for ${waits_for}`), held, name);
		assert.equal(end.anomalies, anomalies, name);
		assert.equal(await lab.page.locator('[data-order="causal"] .event.hold').count(), held.length, name);
		assert.equal(await lab.page.locator('[data-order="arrival"] .event.hold').count(), 0, name);
		assert.equal(await lab.page.locator('[data-order="arrival"] .mark', { hasText: "✗" }).count(), anomalies, name);
		const [causal, arrival] = await verdicts();
		assert.match(causal, /^0 shown before/u, name);
		assert.match(arrival, new RegExp(`^${anomalies} shown before`, "u"), name);
	}
	await lab.page.click("text=2. An answer overtakes its question");
	await lab.page.waitForSelector('#presets a[aria-current]:has-text("2.")');
	const second = await ran();
	await lab.page.locator('[data-order="causal"] .event.hold path').click({ force: true });
	await lab.page.locator("#details tr.fails").waitFor();
	assert.match(await lab.page.innerText("#details caption"), /at Cleo/u);
	await accessible(lab.page, "the lab");
	await picture(lab.page, "lab");
	const drawnCausal = () => drawnIn("causal");
	await lab.page.click("#rewind");
	await until("nothing", async () => (await drawnCausal()).length === 0);
	assert.match((await verdicts())[1], /^0 shown before/u);
	for (let n = 1; n <= second.events.length; n += 1) {
		await lab.page.click("#forward");
		await until(`${n} events`, async () => (await drawnCausal()).length === n);
		// As many arrivals as have happened by then.
		const arrivals = second.events.slice(0, n).filter(({ event, held_us }) => event !== "deliver" || held_us === undefined).length;
		await until(`${arrivals} arrivals`, async () => (await drawnIn("arrival")).length === arrivals);
	}
	await lab.page.click("#back");
	await until("one event less", async () => (await drawnCausal()).length === second.events.length - 1);
	await lab.page.check('input[name="view"][value="causal"]');
	assert.ok(await lab.page.isHidden("#arrival-title"));
	await lab.page.check('input[name="view"][value="arrival"]');
	assert.ok((await lab.page.isHidden("#causal-title")) && (await lab.page.isVisible("#arrival-title")));
	await lab.page.check('input[name="view"][value="both"]');
	await lab.page.click("#table-button");
	await until("the table", async () => (await lab.page.locator('[data-order="causal"] tbody tr').count()) === second.events.length - 1);
	await accessible(lab.page, "the lab's tables");
	await lab.page.click("#table-button");
	// The same link is the same run, whoever opens it.
	await lab.page.click("text=5. Bad weather");
	await lab.page.waitForSelector('#presets a[aria-current]:has-text("5.")');
	const weather = await ran();
	assert.ok(weather.end.held > 0 && weather.end.anomalies > 0 && weather.end.lost > 0);
	assert.match((await verdicts())[1], new RegExp(`^${weather.end.anomalies} shown before`, "u"));
	await picture(lab.page, "lab-weather");
	await lab.page.reload();
	assert.equal((await ran()).text, weather.text);
	await lab.page.fill('input[name="seed"]', "99");
	await lab.page.click("#run");
	await lab.page.waitForURL(/seed=99/u);
	assert.notEqual((await ran()).text, weather.text);
	await lab.page.goBack();
	assert.equal((await ran()).text, weather.text);
	// A partition is drawn, and taken away.
	await lab.page.click("text=1. Three speak at once");
	await lab.page.waitForSelector('#presets a[aria-current]:has-text("1.")');
	await ran();
	const lanes = await lab.page.locator("#cuts svg").boundingBox();
	assert.ok(lanes);
	await lab.page.mouse.move(lanes.x + 39, lanes.y + 4);
	await lab.page.mouse.down();
	await lab.page.mouse.move(lanes.x + lanes.width * 0.6, lanes.y + 6);
	await lab.page.mouse.up();
	await lab.page.waitForURL(/cut=0\.\.\d+:1$/u);
	assert.ok((await ran()).end.cut_off > 0);
	await lab.page.locator("#cuts .cut").click();
	await lab.page.waitForURL((url) => !url.search.includes("cut="));
	assert.equal((await ran()).end.cut_off, 0);
	await lab.page.fill('input[name="say"]', "9@0");
	await lab.page.click("#run");
	await until("what is wrong to be told", async () => /say has '9@0'/u.test(await lab.page.innerText("#problem")));
	await lab.page.setViewportSize({ width: 390, height: 780 });
	await fits(lab.page);
	await accessible(lab.page, "the lab on a phone");
	await picture(lab.page, "lab-phone");

	for (const { troubles } of [ann, raj, keys, evil, lab]) assert.deepEqual(troubles, []);
}

try {
	await test();
	console.log("the page works");
} catch (error) {
	for (const [n, page] of (browser?.contexts() ?? []).flatMap((context) => context.pages()).entries()) await picture(page, `failed-${n}`);
	throw error;
} finally {
	for (const end of endings.reverse()) await end();
	await rm(folder, { recursive: true, force: true });
}
// What still listens must not keep us.
process.exit();

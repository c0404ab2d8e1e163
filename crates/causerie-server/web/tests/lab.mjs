// The lab in a real browser, with a real server:
//
//   node tests/lab.mjs PATH-TO-CAUSERIE [FOLDER-FOR-SCREENSHOTS]
//
// Waits for what must come, and never for a time. Environment: CHROMIUM, another browser than /usr/bin/chromium.

import assert from "node:assert/strict";

import { accessible, fits, inChromium, join_, openPage as openPageAt, picture, say } from "./pages.mjs";
import { makeRoom, startServer, until } from "./programs.mjs";

/** @type {import("playwright-core").Browser} */
let browser;

/**
 * Returns the part of the window's height that the picture has, with its heads.
 * @param {import("playwright-core").Page} page
 * @param {string} heads
 * @param {string} scroller
 */
async function share(page, heads, scroller) {
	const [head, body] = [await page.locator(heads).boundingBox(), await page.locator(scroller).boundingBox()];
	const height = page.viewportSize()?.height ?? 0;
	return ((head?.height ?? 0) + (body?.height ?? 0)) / height;
}

/** Checks that the rule's table is not squeezed by what stands below it. @param {import("playwright-core").Page} page */
const ruleIsWhole = (page) =>
	page.locator("#details .wide").evaluate(({ clientHeight, scrollHeight }) => clientHeight > 40 && clientHeight >= scrollHeight - 1);

/** @param {import("./pages.mjs").World} world */
async function test({ folder, browser: started }) {
	browser = started;
	const { address } = await startServer(folder);
	await makeRoom(address, "lobby");
	const openPage = () => openPageAt(browser, address);

	console.log("three exercises, step and rewind, a link that repeats a run, partitions by mouse");
	const lab = await openPage();
	await lab.page.goto(`http://${address}/lab`);
	/** Returns the server's lines of the run that is shown. */
	const toldOf = async () => {
		const text = await (await fetch(`http://${address}/api/lab${new URL(lab.page.url()).search}`)).text();
		/** @type {any[]} */
		const told = text.trim().split("\n").map((line) => JSON.parse(line));
		return { text, told, end: told[told.length - 1], of: (/** @type {string} */ kind) => told.filter(({ event }) => event === kind) };
	};
	/** Returns the events that are drawn: kind and message, in order. @param {string} order */
	const drawnIn = (order) => lab.page.evaluate((in_) => [...document.querySelectorAll(`[data-order="${in_}"] .event`)]
		.map((dot) => `${dot.classList[1]} ${/** @type {SVGElement} */ (dot).dataset.id}`), order);
	/** Waits until the server's lines are drawn, and returns them. */
	const ran = async () => {
		const told = await toldOf();
		const events = told.told.filter(({ event }) => ["send", "hold", "deliver"].includes(event));
		const wanted = events.map(({ event, message }) => `${event} ${message}`).slice(-120);
		await until("the run", async () => {
			// An exercise begins at the first message that is held.
			await lab.page.click("#end");
			return JSON.stringify(await drawnIn("causal")) === JSON.stringify(wanted);
		});
		return { ...told, events };
	};
	const verdicts = async () => [await lab.page.innerText("#causal-verdict"), await lab.page.innerText("#arrival-verdict")];
	for (const { name, held, anomalies } of [
		{ name: "1. Three send at once", held: [], anomalies: 0 },
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
		assert.equal(await lab.page.locator('[data-order="arrival"] .event.wrong').count(), anomalies, name);
		const [causal, arrival] = await verdicts();
		assert.match(causal, /^0 delivered before/u, name);
		assert.match(arrival, new RegExp(`^${anomalies} delivered before`, "u"), name);
	}
	await lab.page.click("text=2. An answer overtakes its question");
	await lab.page.waitForSelector('#presets a[aria-current]:has-text("2.")');
	const second = await ran();
	await lab.page.locator("#details tr.fails").waitFor();
	assert.match(await lab.page.innerText("#details caption"), /at Cleo/u);
	await accessible(lab.page, "the lab");
	await picture(lab.page, "lab");
	const drawnCausal = () => drawnIn("causal");
	await lab.page.click("#rewind");
	await until("nothing", async () => (await drawnCausal()).length === 0);
	assert.match((await verdicts())[1], /^0 delivered before/u);
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
	await lab.page.click("text=6. Bad weather");
	await lab.page.waitForSelector('#presets a[aria-current]:has-text("6.")');
	const weather = await ran();
	assert.ok(weather.end.held > 0 && weather.end.anomalies > 0 && weather.end.lost > 0);
	assert.match((await verdicts())[1], new RegExp(`^${weather.end.anomalies} delivered before`, "u"));
	await picture(lab.page, "lab-weather");
	await lab.page.reload();
	assert.equal((await ran()).text, weather.text);
	await lab.page.click("#own summary");
	await lab.page.fill('input[name="seed"]', "99");
	await lab.page.click("#run");
	await lab.page.waitForURL(/seed=99/u);
	assert.notEqual((await ran()).text, weather.text);
	await lab.page.goBack();
	assert.equal((await ran()).text, weather.text);
	// A partition is drawn, and taken away.
	await lab.page.click("text=1. Three send at once");
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


	console.log("an exercise begins at the first message that is held, with the reason; keys step");
	await lab.page.setViewportSize({ width: 1280, height: 720 });
	const details = () => lab.page.innerText("#details");
	const clock = () => lab.page.innerText("#clock");
	await lab.page.goto(`http://${address}/lab`);
	await lab.page.locator("#details tr.fails").waitFor();
	assert.match(await clock(), /, 300 ms$/u);
	assert.deepEqual((await drawnIn("causal")).at(-1), "hold 0.2#1");
	assert.match(await details(), /At Cleo it was received early and held for 600 ms: 1 condition failed\. It waited for Ann#1\./u);
	assert.ok((await share(lab.page, '[data-order="causal"] .heads', '[data-order="causal"] .scroller')) >= 0.5, "half of the window is the picture's");
	assert.ok(await ruleIsWhole(lab.page));
	await picture(lab.page, "lab-720");
	await lab.page.locator("body").press("ArrowRight");
	await until("the next event", async () => !(await clock()).endsWith(", 300 ms"));
	await lab.page.locator("body").press("ArrowLeft");
	await until("the event before", async () => (await clock()).endsWith(", 300 ms"));

	console.log("the rule is that of the member whose event is clicked, where it is held and where it is delivered");
	await lab.page.goto(`http://${address}/lab?members=4&delay=100..100&repair=0&say=1@0,2@200&slow=0..5000:1-3:900,0..5000:1-4:1500`);
	await ran();
	const dot = (/** @type {string} */ order, /** @type {string} */ kind, /** @type {string} */ at) =>
		lab.page.locator(`[data-order="${order}"] .event.${kind}[data-at="${at}"][data-id="0.2#1"] path`);
	for (const [at, name, ms] of [["0.3", "Cleo", 600], ["0.4", "Dan", 1200]]) {
		for (const kind of ["hold", "deliver"]) {
			await dot("causal", kind, String(at)).click();
			await until(`the rule at ${name}`, async () => (await details()).includes(`At ${name} it was received early and held for ${ms} ms: 1 condition failed.`));
			assert.match(await lab.page.innerText("#details caption"), new RegExp(` at ${name}, `, "u"));
			// Members of whom nothing was delivered are in it.
			assert.deepEqual(await lab.page.locator("#details tbody th").allInnerTexts(), ["Bob", "Ann", "Cleo", "Dan"]);
			assert.deepEqual(await lab.page.locator("#details tr.fails th").allInnerTexts(), ["Ann"]);
		}
	}
	const arrows = await lab.page.evaluate(() => [...document.querySelectorAll('[data-order="causal"] .arrow[data-to="0.2#1"]')]
		.map((arrow) => `${arrow.classList[1]} ${/** @type {SVGElement} */ (arrow).dataset.at}`));
	assert.deepEqual(arrows.sort(), ["arrival 0.3", "arrival 0.4", "delivery 0.1"], "one arrow to where it was received");
	await dot("causal", "deliver", "0.1").click();
	await until("the rule at Ann", async () => /At Ann all conditions held/u.test(await details()));
	await dot("causal", "send", "0.2").click();
	await until("where it was received", async () => /Sent by Bob.*at Ann: delivered\s*at Cleo: held 600 ms\s*at Dan: held 1200 ms/su.test(await details()));
	// Without causal order nothing is held, and the rule says what went wrong.
	await dot("arrival", "deliver", "0.4").click();
	await until("what went wrong at Dan", async () => /At Dan 1 condition failed, and it was delivered all the same: before Ann#1/u.test(await details()));
	assert.doesNotMatch(await details(), /held/u);
	await picture(lab.page, "lab-arrival");
	assert.equal(await lab.page.locator('[data-order="causal"] .event.deliver[data-at="0.4"][data-id="0.2#1"] title').textContent(),
		"Bob#1 is delivered at Dan after 1200 ms (1500 ms)");
	assert.equal(await lab.page.locator("#plan [placeholder]").count(), 0, "nothing looks like a value that is none");

	console.log("at 200 % of zoom the pictures keep half of the window");
	await lab.page.setViewportSize({ width: 640, height: 360 });
	await fits(lab.page);
	for (const order of ["causal", "arrival"]) {
		assert.ok((await share(lab.page, `[data-order="${order}"] .heads`, `[data-order="${order}"] .scroller`)) >= 0.5, order);
	}
	await lab.page.locator('[data-order="causal"]').scrollIntoViewIfNeeded();
	await picture(lab.page, "lab-zoomed");

	console.log("so does the room's picture, with what is told about a message");
	const room = await openPage();
	await join_(room.page, address, "Ann");
	for (let n = 0; n < 12; n += 1) await say(room.page, `number ${n}`);
	await room.page.locator("#lines .message", { hasText: "number 11" }).locator(".text").click();
	await room.page.locator("#details table.rule").waitFor();
	for (const [name, size] of Object.entries({ "picture-720": { width: 1280, height: 720 }, "picture-zoomed": { width: 640, height: 360 } })) {
		await room.page.setViewportSize(size);
		if (size.width < 700) await room.page.click('.panes [data-pane="picture"]');
		await until(`half of the window for the picture, at ${size.width} by ${size.height}`, async () => (await share(room.page, "#diagram-head", "#diagram")) >= 0.5);
		assert.ok(await ruleIsWhole(room.page));
		await picture(room.page, name);
	}
	await room.page.setViewportSize({ width: 1280, height: 720 });
	await room.page.locator("#back").focus();
	await room.page.keyboard.press("ArrowLeft");
	await until("the picture to stand one event back", async () => (await room.page.innerText("#follow")) === "Paused");

	for (const { troubles } of [lab, room]) assert.deepEqual(troubles, []);
}

await inChromium("lab", test);

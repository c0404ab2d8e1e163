// The page: rooms at the left, the chat, and the picture of what happened before what. It only puts the parts together, and
// hears of the window.

import { act } from "./chat/actions.js";
import { notify, offer } from "./chat/calls.js";
import { composer } from "./chat/composer.js";
import { openJoined, route } from "./chat/entrance.js";
import { goTo } from "./chat/search.js";
import { memory, onOthers, save } from "./lib/memory.js";
import { isLit, light, mark, relight } from "./lighting.js";
import { show, showPicture } from "./page.js";
import { on, state } from "./state.js";

const { rooms } = state;

on("act", act);
on("go", (id, position) => void goTo(id, position));
on("change", (room, change, detail) => {
	if (change === "lines") notify(room, detail.added);
});
on("room", offer);
on("state", offer);
on("rendered", mark);
on("hovered", relight);
on("selected", light);
on("lines", () => {
	if (isLit()) relight();
});

addEventListener("hashchange", route);
addEventListener("online", () => rooms.forEach((room) => room.hurry()));
addEventListener("focus", () => show("lines"));
addEventListener("blur", () => show("lines"));
document.addEventListener("visibilitychange", () => {
	if (!document.hidden) rooms.forEach((room) => room.hurry());
	show("lines");
});
addEventListener("pagehide", () => {
	composer.keep();
	save();
	rooms.forEach((room) => room.session.suspend());
});
addEventListener("pageshow", ({ persisted }) => {
	if (persisted) rooms.forEach((room) => room.session.resume());
});
onOthers(() => {
	openJoined();
	show("lines", "rooms");
});

showPicture(memory.picture !== false);
route();
openJoined();

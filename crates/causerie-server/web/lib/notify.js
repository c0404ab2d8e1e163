// Tells, outside the page, that somebody called us. The browser is asked only when its owner clicks for it.

/** Returns whether the browser tells outside the page. @returns {"default" | "granted" | "denied" | "impossible"} */
export const permission = () => ("Notification" in globalThis && isSecureContext ? Notification.permission : "impossible");

/** Asks the browser's owner for permission; to be called where there was a click. */
export const askPermission = () => Notification.requestPermission();

/**
 * Tells outside the page.
 * @param {{title: string, body: string, tag: string}} what the same tag is the same, also in another page
 * @param {() => void} onClick
 */
export function tell({ title, body, tag }, onClick) {
	if (permission() !== "granted") return;
	try {
		const notification = new Notification(title, { body, tag, icon: "icon.svg" });
		notification.onclick = () => {
			notification.close();
			focus();
			onClick();
		};
	} catch {
		// Some browsers of phones let a page do that in another way only; the count in the list is there all the same.
	}
}

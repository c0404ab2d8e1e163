// A reverse proxy before the server, as nginx is one: it takes a path away, or passes on another Host.

import http from "node:http";
import net from "node:net";

import { endings } from "./programs.mjs";

/**
 * @param {string} target the server's address
 * @param {{prefix?: string, host?: string, only?: string}} [how] `prefix`: `/chat`, below which the server is; `host`: what the
 * server is told, of what begins with `only`
 * @returns {Promise<{address: string, outside: string[]}>} and what was asked for outside the path
 */
export async function startProxy(target, { prefix = "", host, only = "" } = {}) {
	const [name, port] = target.split(":");
	/** @type {string[]} */
	const outside = [];
	/** @param {http.IncomingMessage} request */
	const options = ({ url = "", method, headers }) => ({ host: name, port, method, path: url.slice(prefix.length), headers: host && url.startsWith(only) ? { ...headers, host } : headers });
	const server = http.createServer((request, response) => {
		if (!request.url?.startsWith(`${prefix}/`)) {
			if (request.url !== "/favicon.ico") outside.push(request.url ?? "");
			response.writeHead(404).end();
			return;
		}
		request.pipe(http.request(options(request), (answer) => {
			response.writeHead(answer.statusCode ?? 502, answer.headers);
			answer.pipe(response);
		}).on("error", () => response.destroy()));
	});
	server.on("upgrade", (request, socket, head) => {
		const { path, headers } = options(request);
		const upstream = net.connect(Number(port), name, () => {
			const lines = Object.entries(headers).map(([field, value]) => `${field}: ${value}\r\n`).join("");
			upstream.write(`GET ${path} HTTP/1.1\r\n${lines}\r\n`);
			upstream.write(head);
			socket.pipe(upstream).pipe(socket);
		});
		upstream.on("error", () => socket.destroy());
		socket.on("error", () => upstream.destroy());
		endings.push(() => upstream.destroy());
	});
	await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
	endings.push(() => server.close());
	return { address: `127.0.0.1:${/** @type {net.AddressInfo} */ (server.address()).port}`, outside };
}

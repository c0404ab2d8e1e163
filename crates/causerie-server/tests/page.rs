//! The page over a real socket: what is served, how, and how long a browser keeps it. What it does is tested in a
//! browser (`web/tests/browser.mjs`).

mod common;

use std::io::Read;

use causerie_server::Settings;
use common::{Harness, within};
use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Head and body.
async fn ask(server: &Harness, method: &str, path: &str, header: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let host = server.address;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("the answer", stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

#[tokio::test]
async fn the_page_is_served_and_kept_by_its_tag() {
    let server = Harness::start(Settings::default()).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/lab/lab.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let (head, body) = ask(&server, "GET", path, "").await;
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert_eq!(header(&head, "content-type"), kind, "{path}");
        assert_eq!(header(&head, "cache-control"), "no-cache", "{path}");
        assert_eq!(header(&head, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&head, "referrer-policy"), "no-referrer", "{path}");
        let policy = header(&head, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&head, "content-length"), body.len().to_string());
        assert!(!body.is_empty());

        let tag = header(&head, "etag");
        assert_eq!(header(&head, "vary"), "accept-encoding", "{path}");
        let strong = tag.strip_prefix("w/").expect("a weak tag");
        for same in
            [format!("W/{strong}"), strong.to_owned(), format!("\"other\", W/{strong}"), "*".to_owned()]
        {
            let (head, body) = ask(&server, "GET", path, &format!("If-None-Match: {same}\r\n")).await;
            assert!(head.starts_with("http/1.1 304 ") && body.is_empty(), "{path} {same}: {head}");
            assert_eq!((header(&head, "etag"), header(&head, "vary")), (tag, "accept-encoding"));
        }
        let (head, again) = ask(&server, "GET", path, "If-None-Match: \"other\"\r\n").await;
        assert!(head.starts_with("http/1.1 200 ") && again == body, "{path}: {head}");
        let (head, nothing) = ask(&server, "HEAD", path, "").await;
        assert!(head.starts_with("http/1.1 200 ") && nothing.is_empty(), "{path}: {head}");
        assert!(ask(&server, "POST", path, "Content-Length: 0\r\n").await.0.starts_with("http/1.1 405 "));
    }
    for strange in ["/nothing.js", "/web/app.js", "/../Cargo.toml", "/app.js/", "/tests/random.js"] {
        assert!(ask(&server, "GET", strange, "").await.0.starts_with("http/1.1 404 "), "{strange}");
    }
    server.stop().await;
}

/// Of a browser's request.
const GZIP: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

/// A body that came in chunks.
fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a chunk's size");
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).expect("hexadecimal");
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut plain).expect("gzip");
    plain
}

/// Returns the addresses of what a file at `path` names between this start and a quote.
fn named<'a>(path: &'a str, text: &'a str, start: &'a str) -> impl Iterator<Item = String> + 'a {
    text.lines().filter(|line| !line.contains(" * ")).filter_map(move |line| {
        let name = line.split(start).nth(1)?.split('"').next()?;
        let mut parts: Vec<&str> = path.split('/').collect();
        parts.pop();
        for part in name.split('/').filter(|part| *part != ".") {
            match part {
                ".." => {
                    parts.pop();
                }
                _ => parts.push(part),
            }
        }
        name.contains('.').then(|| parts.join("/"))
    })
}

#[tokio::test]
async fn what_crosses_the_wire_is_light() {
    let server = Harness::start(Settings::default()).await;
    for page in ["/", "/lab"] {
        let mut paths = vec![page.to_owned()];
        let (mut seen, mut light, mut plain) = (Vec::new(), 0, 0);
        while let Some(path) = paths.pop() {
            if seen.contains(&path) {
                continue;
            }
            let (_, body) = ask(&server, "GET", &path, "").await;
            let (head, packed) = ask(&server, "GET", &path, GZIP).await;
            assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
            assert_eq!(header(&head, "content-encoding"), "gzip", "{path}");
            assert_eq!(header(&head, "vary"), "accept-encoding", "{path}");
            let (tag, packed) = (header(&head, "etag").replace("w/", "W/"), unchunked(&packed));
            assert_eq!(unpacked(&packed), body, "{path}");
            let (head, nothing) =
                ask(&server, "GET", &path, &format!("{GZIP}If-None-Match: {tag}\r\n")).await;
            assert!(head.starts_with("http/1.1 304 ") && nothing.is_empty(), "{path}: {head}");
            (light, plain) = (light + packed.len(), plain + body.len());
            let text = String::from_utf8(body).unwrap();
            for start in ["<script type=\"module\" src=\"", "<link rel=\"stylesheet\" href=\"", " from \""] {
                paths.extend(named(&path, &text, start));
            }
            seen.push(path);
        }
        assert!(seen.len() > 11, "{page}: {seen:?}");
        assert!(light <= 150_000 && 2 * light < plain, "{page}: {light} bytes of {plain}");
    }
    // What is small, what is not the page's, and who does not take it.
    for (path, header_) in [
        ("/api/rooms", GZIP),
        ("/api/openapi.json", GZIP),
        ("/app.js", "Accept-Encoding: br\r\n"),
        ("/app.js", "Accept-Encoding: gzip;q=0\r\n"),
    ] {
        let (head, _) = ask(&server, "GET", path, header_).await;
        assert!(
            head.starts_with("http/1.1 200 ") && header(&head, "content-encoding").is_empty(),
            "{path}: {head}"
        );
    }
    server.stop().await;
}

//! The page over a real socket: what is served, how, and how long a browser keeps it. What it does is tested in a
//! browser (`web/tests/browser.mjs`).

mod common;

use causerie_server::Settings;
use common::{Harness, within};
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
        for same in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let (head, body) = ask(&server, "GET", path, &format!("If-None-Match: {same}\r\n")).await;
            assert!(head.starts_with("http/1.1 304 ") && body.is_empty(), "{path} {same}: {head}");
            assert_eq!(header(&head, "etag"), tag);
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

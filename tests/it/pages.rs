//! The pages, as a browser asks for them: their headers to the letter, and that nothing in them comes from elsewhere. What
//! they do is in `tests/browser/`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use taskwire::config::Config;
use taskwire::http::has_pages;

use super::api_server::ApiServer;
use super::support::left_out;

const POLICY: &str =
    "default-src 'self'; script-src 'self'; worker-src 'self'; object-src 'none'; frame-ancestors 'none'";
/// Hosts that the pages' files name and load nothing from: names of XML and JSON vocabularies, links for people to read.
const NAMED_ONLY: [&str; 11] = [
    "code.visualstudio.com",
    "commonmark.org",
    "en.wikipedia.org",
    "github.com",
    "json-schema.org",
    "microsoft.com",
    "prettier.io",
    "react.dev",
    "www.onegraph.com",
    "www.w3.org",
    "yarnpkg.com",
];
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

/// A browser without its engine.
struct Pages {
    server: ApiServer,
    client: Client,
}

impl Pages {
    async fn open(change: impl FnOnce(&mut Config)) -> Self {
        let server = ApiServer::configured(change).await;
        Self { server, client: Client::builder().redirect(Policy::none()).build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        self.server.url().replace("/graphql", path)
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// The files that a page names.
    async fn files_of(&self, page: &str) -> Vec<String> {
        let html = self.get(page).await.text().await.unwrap();
        let named = html.split('"').filter(|text| text.starts_with("/assets/"));
        named.map(str::to_owned).collect()
    }
}

fn header(response: &Response, name: impl reqwest::header::AsHeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn kind_of(file: &str) -> &str {
    file.rsplit('.').next().unwrap_or_default()
}

/// What the tests below need; a plain `cargo test` may be without.
fn are_missing() -> bool {
    if !has_pages() {
        left_out("the pages are not in the program: scripts/web makes them");
    }
    !has_pages()
}

#[tokio::test]
async fn the_policy_is_strict_to_the_letter() {
    let pages = Pages::open(|_| {}).await;
    let with_styles = format!("{POLICY}; style-src 'self' 'unsafe-inline'");
    for (path, policy) in [
        ("/", POLICY),
        ("/overview", POLICY),
        ("/tasks/anna/import-1", POLICY),
        ("/tasks/a%2Fb%20c/%E2%82%AC", POLICY),
        ("/graphiql", if has_pages() { &with_styles } else { POLICY }),
        ("/assets/none.js", POLICY),
    ] {
        let page = pages.get(path).await;
        let is_there = has_pages() && !path.starts_with("/assets");
        assert_eq!(page.status(), if is_there { StatusCode::OK } else { StatusCode::NOT_FOUND }, "{path}");
        assert_eq!(header(&page, CONTENT_SECURITY_POLICY), policy, "{path}");
        assert_eq!(header(&page, X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(&page, REFERRER_POLICY), "no-referrer");
        assert_eq!(header(&page, "cross-origin-resource-policy"), "same-origin");
        assert_eq!(header(&page, CACHE_CONTROL), "no-cache");
        assert_eq!(header(&page, CONTENT_TYPE), "text/html; charset=utf-8");
    }
    for path in ["/tasks", "/tasks/anna", "/tasks/a/b/c", "/overview/x", "/index.html", "/assets/", "/nothing"] {
        assert_eq!(pages.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn without_the_bundle_the_page_says_how_to_make_it() {
    if has_pages() {
        return;
    }
    let pages = Pages::open(|_| {}).await;
    for path in ["/", "/graphiql"] {
        let said = pages.get(path).await.text().await.unwrap();
        assert!(said.contains("scripts/web") && said.contains("make run"), "{said}");
    }
}

#[tokio::test]
async fn a_page_is_asked_for_each_time_and_its_files_once() {
    if are_missing() {
        return;
    }
    let pages = Pages::open(|_| {}).await;
    let files = pages.files_of("/graphiql").await;
    assert!(files.len() > 3, "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/", "/graphiql"]) {
        let whole = pages.get(path).await;
        assert_eq!(whole.status(), StatusCode::OK, "{path}");
        let is_page = !path.starts_with("/assets");
        let cached = if is_page { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!(header(&whole, CACHE_CONTROL), cached, "{path}");
        let kind = match kind_of(path) {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(header(&whole, CONTENT_TYPE), kind, "{path}");
        let tag = header(&whole, ETAG).to_owned();
        let again = pages.client.get(pages.url(path)).header(IF_NONE_MATCH, &tag).send().await.unwrap();
        assert_eq!((again.status(), header(&again, ETAG)), (StatusCode::NOT_MODIFIED, &*tag), "{path}");
        assert_eq!(header(&again, CACHE_CONTROL), cached);
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        let other = pages.client.get(pages.url(path)).header(IF_NONE_MATCH, "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn files_go_compressed_to_who_takes_that_and_whole_to_others() {
    if are_missing() {
        return;
    }
    let pages = Pages::open(|_| {}).await;
    let styles = pages.files_of("/graphiql").await.into_iter().find(|file| kind_of(file) == "css").unwrap();
    for path in ["/", &styles] {
        let as_taken = async |encoding: &str, method: reqwest::Method| {
            let request = pages.client.request(method, pages.url(path)).header(ACCEPT_ENCODING, encoding);
            let response = request.send().await.unwrap();
            assert_eq!(header(&response, VARY), "accept-encoding");
            let headed = |name| header(&response, name).to_owned();
            let (encoded, length) = (headed(CONTENT_ENCODING), headed(CONTENT_LENGTH));
            (encoded, length.parse::<usize>().unwrap(), response.bytes().await.unwrap())
        };
        let (brotli, shortest, _) = as_taken("gzip, br", reqwest::Method::GET).await;
        let (gzip, shorter, zipped) = as_taken("gzip", reqwest::Method::GET).await;
        let (plain, length, whole) = as_taken("identity", reqwest::Method::GET).await;
        assert_eq!((&*brotli, &*gzip, &*plain), ("br", "gzip", ""));
        assert!(shortest <= shorter && shorter < length && length == whole.len(), "{shortest} {shorter} {length}");
        let mut unzipped = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*zipped), &mut unzipped).unwrap();
        assert_eq!(unzipped, whole);
        let head = as_taken("gzip", reqwest::Method::HEAD).await;
        assert_eq!((head.1, head.2.len()), (shorter, 0));
    }
}

/// The hosts of all addresses in a text, with a scheme and without.
fn hosts(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("//").filter_map(move |(at, _)| {
        let before = &text[..at];
        let is_address =
            ["http:", "https:", "ws:", "wss:", "\"", "'", "`", "("].iter().any(|start| before.ends_with(start));
        let host = text[at + 2..].split(|sign: char| !(sign.is_ascii_alphanumeric() || ".-".contains(sign))).next()?;
        let is_host = host.len() > 3 && host.contains('.') && kind_of(host) != "json" && !host.starts_with('.');
        (is_address && is_host).then_some(host)
    })
}

#[test]
fn nothing_comes_from_elsewhere() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/dist");
    let folders = [dist.clone(), dist.join("assets")];
    let files =
        folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().map(|file| file.unwrap().path());
    let mut seen = 0;
    for file in files.filter(|file| {
        file.extension().is_some_and(|kind| ["html", "css", "js", "svg"].map(OsStr::new).contains(&kind))
    }) {
        let text = fs::read_to_string(&file).unwrap();
        let foreign: Vec<&str> = hosts(&text).filter(|host| !NAMED_ONLY.contains(host)).collect();
        assert!(foreign.is_empty(), "{}: {foreign:?}", file.display());
        seen += 1;
    }
    assert!(seen > 5 || !has_pages(), "where are the pages? {seen}");
    let planted = "<script src='https://a.example/a.js'><link href=\"//b.c.example/x.css\">@import url(//d.example/b); a // no.host";
    assert_eq!(hosts(planted).collect::<Vec<_>>(), ["a.example", "b.c.example", "d.example"]);
}

#[tokio::test]
async fn a_browser_that_opens_graphql_is_sent_to_graphiql() {
    let pages = Pages::open(|_| {}).await;
    let open = async |path: &str, accept: &str| {
        let response = pages.client.get(pages.url(path)).header(ACCEPT, accept).send().await.unwrap();
        (response.status(), header(&response, LOCATION).to_owned())
    };
    assert_eq!(open("/graphql", BROWSER).await, (StatusCode::SEE_OTHER, "/graphiql".to_owned()));
    // Who asks for something is answered, and a client that is no browser is told what is missing.
    let query = "/graphql?query=%7Bviewer%7Brole%7D%7D";
    assert_eq!(open(query, BROWSER).await, (StatusCode::OK, String::new()));
    assert_eq!(open("/graphql", "application/json").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(open("/graphql", "*/*").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn graphiql_is_off_where_the_schema_is_not_told() {
    let pages = Pages::open(|config| config.graphql.introspection = false).await;
    let page = pages.get("/graphiql").await;
    assert_eq!((page.status(), header(&page, CONTENT_SECURITY_POLICY)), (StatusCode::NOT_FOUND, POLICY));
    assert!(page.text().await.unwrap().contains("--introspection off"));
    let browser = pages.client.get(pages.url("/graphql")).header(ACCEPT, BROWSER).send().await.unwrap();
    assert_eq!(browser.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_pages_are_open_where_people_sign_in() {
    let pages = Pages::open(|config| config.auth = ApiServer::key_config().auth).await;
    let there = if has_pages() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    for path in ["/", "/graphiql"] {
        assert_eq!(pages.get(path).await.status(), there, "{path}");
    }
    assert_eq!(pages.get("/graphql?query=%7Bviewer%7Brole%7D%7D").await.status(), StatusCode::UNAUTHORIZED);
}

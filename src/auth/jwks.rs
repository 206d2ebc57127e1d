//! Public keys from a file or a URL, kept fresh: read again for a key id that is not among them, and from time to time,
//! so that a key that was withdrawn goes. Never more often than [`PAUSE`] for a URL, one at a time, and what cannot be
//! read takes nothing away.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::{io::AsyncReadExt, sync::Mutex, time::timeout};

use super::{
    SetupError,
    keys::{self, Key},
};
use crate::clock::Clock;

/// Between two reads of a URL: who sends tokens with invented key ids does not make us hammer the issuer.
const PAUSE: Duration = Duration::from_secs(30);
/// The same while there are no keys at all, and for a file, which costs nobody anything.
const SHORT_PAUSE: Duration = Duration::from_secs(2);
/// Keys this old are read again, beside the work.
const AGE: Duration = Duration::from_mins(10);
/// What a read may take, with connecting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Larger is no JWKS.
const LARGEST: usize = 256 << 10;

/// Where the keys come from.
enum Source {
    File(PathBuf),
    Url(Box<Fetcher>),
}

/// The keys, and when they were read by the clock.
#[derive(Clone, Default)]
struct Held {
    keys: Arc<[Key]>,
    read: Option<Duration>,
}

/// The keys of a JWKS.
pub(super) struct Jwks {
    source: Source,
    clock: Clock,
    held: RwLock<Held>,
    /// When the last read began, whether or not it went well. Its lock is held while one is under way.
    last: Mutex<Option<Duration>>,
}

impl Jwks {
    /// From a file, which has to be there and right.
    pub(super) async fn open(path: &Path, clock: Clock) -> Result<Arc<Self>, SetupError> {
        let jwks = Self::new(Source::File(path.to_owned()), clock);
        let keys = jwks.read().await;
        let keys = keys.map_err(|problem| SetupError { setting: "--jwks-file", problem })?;
        jwks.hold(keys);
        Ok(Arc::new(jwks))
    }

    /// From a URL. The first read begins at once and is not waited for: an issuer that is away for a moment must not
    /// keep the server from starting.
    pub(super) fn at(url: &str, clock: Clock) -> Result<Arc<Self>, SetupError> {
        let fetcher = Fetcher::new(url).map_err(|problem| SetupError { setting: "--jwks-url", problem })?;
        let jwks = Arc::new(Self::new(Source::Url(Box::new(fetcher)), clock));
        tokio::spawn(Arc::clone(&jwks).refresh_now());
        Ok(jwks)
    }

    fn new(source: Source, clock: Clock) -> Self {
        Self { source, clock, held: RwLock::default(), last: Mutex::default() }
    }

    /// The keys as they are. Where they are old they are read again, beside this.
    pub(super) fn keys(self: &Arc<Self>) -> Arc<[Key]> {
        let held = self.held();
        let is_old = held.read.is_some_and(|read| self.clock.elapsed().saturating_sub(read) >= AGE);
        if is_old && self.last.try_lock().is_ok_and(|last| self.may_read(*last)) {
            tokio::spawn(Arc::clone(self).refresh_now());
        }
        held.keys
    }

    /// The keys, read again if that was not done a moment ago.
    pub(super) async fn refreshed(self: &Arc<Self>) -> Arc<[Key]> {
        // A task of its own: a client that hangs up must not be able to cut the read short for everybody.
        let _ = tokio::spawn(Arc::clone(self).refresh_now()).await;
        self.held().keys
    }

    async fn refresh_now(self: Arc<Self>) {
        // Who waited here for somebody else's read finds it done, and too fresh to be done again.
        let mut last = self.last.lock().await;
        if !self.may_read(*last) {
            return;
        }
        *last = Some(self.clock.elapsed());
        match self.read().await {
            Ok(keys) => {
                tracing::info!(from = %self.source, keys = keys.len(), "read the keys that tokens are checked with");
                self.hold(keys);
            }
            Err(error) => {
                tracing::warn!(from = %self.source, error, "cannot read the keys that tokens are checked with; the old ones stay");
            }
        }
    }

    fn may_read(&self, last: Option<Duration>) -> bool {
        let pause = match self.source {
            Source::Url(_) if self.held().read.is_some() => PAUSE,
            _ => SHORT_PAUSE,
        };
        last.is_none_or(|last| self.clock.elapsed().saturating_sub(last) >= pause)
    }

    async fn read(&self) -> Result<Vec<Key>, String> {
        let read = async {
            match &self.source {
                Source::File(path) => read_file(path).await.map_err(|error| format!("{}: {error}", path.display())),
                Source::Url(fetcher) => fetcher.get().await,
            }
        };
        let text = timeout(PATIENCE, read).await.map_err(|_| "no answer in time".to_owned())??;
        keys::read(&text).map_err(|problem| format!("{} {problem}", self.source))
    }

    fn hold(&self, keys: Vec<Key>) {
        let held = Held { keys: keys.into(), read: Some(self.clock.elapsed()) };
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            // Without a query, which may hold somebody's key.
            Self::Url(fetcher) => {
                let uri = &fetcher.uri;
                let host = uri.authority().map_or("", http::uri::Authority::as_str);
                write!(f, "{}://{host}{}", uri.scheme_str().unwrap_or_default(), uri.path())
            }
        }
    }
}

async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    tokio::fs::File::open(path).await?.take(most + 1).read_to_end(&mut text).await?;
    if text.len() > LARGEST {
        return Err(io::Error::other("is larger than 256 KiB"));
    }
    Ok(text)
}

/// Gets one document. Follows no redirection: the operator named the place, and nobody else does.
struct Fetcher {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<&'static [u8]>>,
}

impl Fetcher {
    fn new(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let tls = if uri.scheme_str() == Some("https") {
            // The system's, so that an issuer inside a company can be reached.
            tls.with_native_roots()
                .map_err(|error| format!("this system has no certificates to trust (ca-certificates): {error}"))?
        } else {
            tls.with_root_certificates(RootCertStore::empty())
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth()).https_or_http().enable_http1();
        Ok(Self { uri, client: Client::builder(TokioExecutor::new()).build(connector.build()) })
    }

    async fn get(&self) -> Result<Vec<u8>, String> {
        let request = Request::get(self.uri.clone())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("taskwire/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| innermost(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("answered {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| innermost(&*error))?;
        Ok(body.to_bytes().to_vec())
    }
}

/// What the system says, below the layers that say that something went wrong.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map_or_else(String::new, ToString::to_string)
}

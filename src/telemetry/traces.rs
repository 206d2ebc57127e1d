//! Traces: [`Traces`] sends spans to a collector by OTLP (HTTP, protobuf), if there is one; `spans` makes them.
//!
//! Without a collector there is no layer that wants the spans, so none is made: that is found out once for each place in the
//! code. With one, they wait in a queue of bounded length (OpenTelemetry's `OTEL_BSP_…` variables) and are sent by a thread
//! of its own; what finds it full, or a collector that is away, is lost, and nobody waits for it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::spans;

/// What a delivery may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What those that wait at the end may take.
const LAST: Duration = Duration::from_secs(1);
/// What is read of a collector's answer.
const ANSWER: usize = 64 << 10;
/// How often the log tells of a collector that is away.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// Where spans go, and as whose.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// The collector's URL, whole.
    pub url: String,
    /// The service's name.
    pub service: String,
    /// Which share of the traces that begin here is sent, 0 to 1. One that came with a request goes by what that says.
    pub sample: f64,
}

/// Sends spans to a collector. Ended by [`Traces::end`].
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins; within the runtime that is to do the sending.
    pub fn start(settings: &TraceSettings) -> Result<Self, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.url)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| format!("--otlp-endpoint: {error}"))?;
        let resource = Resource::builder()
            .with_service_name(settings.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample)));
        let provider = SdkTracerProvider::builder();
        Ok(Self(provider.with_batch_exporter(exporter).with_resource(resource).with_sampler(sampler).build()))
    }

    /// What makes spans of ours into OpenTelemetry's.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("taskwire"))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(spans::only())
    }

    /// Sends what waits, shortly.
    pub async fn end(self) {
        // It waits for its thread, which waits for us.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces were not delivered");
        }
    }
}

/// The exporter's way out: it asks from a thread of its own, and is served by the runtime.
struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
    told: Mutex<Option<Instant>>,
}

impl Sender {
    fn new() -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, runtime: Handle::current(), told: Mutex::default() }
    }

    fn tell(&self, error: &dyn fmt::Display) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(%error, "traces are lost: the collector (--otlp-endpoint) does not take them");
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let client = self.client.clone();
        let send = async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
            if parts.status.is_success() {
                Ok(Response::from_parts(parts, body))
            } else {
                Err(Failure::from(format!("it answered {}", parts.status)))
            }
        };
        // On the runtime, whose clock and connections these are.
        let delivery = self.runtime.spawn(async { timeout(PATIENCE, send).await.map_err(Failure::from).flatten() });
        delivery.await.map_err(Failure::from).flatten().inspect_err(|error| self.tell(error))
    }
}
